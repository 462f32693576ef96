import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Search compares composed letters, single spaces and one kind of i. `search_text` is brought to that form, in lower case
 * as it was; most rows are plain ASCII and stay as they are. What the version before writes during a rolling deploy
 * keeps the older form until staff change it again: only search is less tolerant there.
 */
const FOLDED = `replace(replace(regexp_replace(normalize(search_text, NFKC), ' +', ' ', 'g'),
  'i' || chr(775), 'i'), chr(305), 'i')`;

const UP = `
  UPDATE channel_user SET search_text = ${FOLDED}
  WHERE (octet_length(search_text) <> length(search_text) OR search_text LIKE '%  %') AND search_text <> ${FOLDED}`;

export class SearchText1796600000000 implements MigrationInterface {
  name = 'SearchText1796600000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(UP);
  }

  /** The version before finds all but a few of these rows as well; nothing is lost. */
  async down(): Promise<void> {
    await Promise.resolve();
  }
}
