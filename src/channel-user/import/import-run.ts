import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { EntityManager } from 'typeorm';
import type { AuditService } from '../../audit/audit.service.ts';
import type { ChannelUserService } from '../channel-user.service.ts';
import { isRandomUuid, relativeCost } from '../../password/secret-hash.ts';
import type { ImportedPasswordService } from '../account/imported-password.service.ts';
import type { FieldError } from '../../platform/common/errors.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { bulkTransaction } from '../../platform/database/data-source.ts';
import type { BulkLink, HandoverService } from '../handover/handover.service.ts';
import { accountOf, bcryptWarning, type CheckedRow, checkRows, TAKEN } from './checked-row.ts';
import { GeneratedSecrets } from './generated-secrets.ts';
import type { ImportSummaryDto } from './import.dto.ts';
import { ImportRefusedError, UnreadableFileError } from './import.errors.ts';
import { rowsOf } from './import-file.ts';
import type { ImportCounts, ImportLog, ImportOptions } from './import-log.service.ts';
import { endedBy, inParallel, inSmallChunks, inTurns } from './iteration.ts';
import type { RawRow } from './raw-row.ts';
import { RowErrors } from './row-errors.ts';
import {
  AT_ONCE,
  clear,
  generated,
  move,
  stage,
  type MovedRow,
  type StagedCredential,
  type StagedRow,
  takenUsernames,
  unstage,
} from './staging.ts';

const MAX_ROWS = 1_000_000;
/** Slow hashes at once. Leaves one core, and some of the memory for hashes, to partners who sign in. */
const HASHED_AT_ONCE = Math.min(8, Math.max(1, availableParallelism() - 1));
const LABEL = 'imported';

/** A new credential, with its password or with a link that shows it once. */
export type IssuedCredential = StagedCredential &
  ({ readonly password: string } | { readonly handoverUrl: string; readonly expiresAt: Date });

interface Services {
  readonly manager: EntityManager;
  readonly audit: AuditService;
  readonly channelUsers: ChannelUserService;
  readonly passwords: ImportedPasswordService;
  readonly handovers: HandoverService;
  readonly log: ImportLog;
}

/** One import, from the first byte of its file to the last password of its answer. */
export class ImportRun implements ImportCounts {
  rows = 0;
  created = 0;
  fileSha256: string | null = null;
  readonly #errors = new RowErrors();
  readonly #secrets = new GeneratedSecrets();
  readonly #costs = new Map<number, string>();
  #staged = 0;
  /** Number of accounts with a generated password. */
  #generated = 0;
  #lastRow = 0;
  #linksExpireAt = new Date(0);
  #withheld: Error | undefined;
  #bcryptHashes = 0;

  constructor(
    readonly id: string,
    private readonly services: Services,
    private readonly options: ImportOptions,
    private readonly actor: Actor,
    /** Aborts the import while it is running. */
    private readonly signal: AbortSignal,
  ) {}

  get failed(): number {
    return this.#errors.failed;
  }

  get summary(): ImportSummaryDto {
    return {
      id: this.id,
      outcome: this.options.dryRun ? 'checked' : 'imported',
      rows: this.rows,
      created: this.created,
      failed: this.failed,
      errorCount: this.#errors.count,
      errors: this.#errors.kept,
      warnings: this.#bcryptHashes === 0 ? [] : [bcryptWarning(this.#bcryptHashes)],
    };
  }

  /**
   * Checks every row and stages the good ones.
   *
   * @throws UnreadableFileError, ImportRefusedError
   */
  async read(bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const digest = createHash('sha256');
    const { signal } = this;
    async function* digested(): AsyncGenerator<Uint8Array> {
      for await (const chunk of inSmallChunks(endedBy(signal, bytes))) {
        digest.update(chunk);
        yield chunk;
      }
    }
    let batch: RawRow[] = [];
    for await (const raw of rowsOf(digested(), this.options.format)) {
      if (raw.row > MAX_ROWS) throw new UnreadableFileError(`there are more than ${String(MAX_ROWS)} rows`);
      this.rows++;
      this.#lastRow = raw.row;
      batch.push(raw);
      if (batch.length < AT_ONCE) continue;
      await this.#take(batch);
      batch = [];
    }
    await this.#take(batch);
    if (this.rows === 0) throw new UnreadableFileError('there are no rows');
    this.fileSha256 = digest.digest('hex');
    this.created = this.#staged;
    if (!this.options.dryRun) this.#refuseUnlessGood();
  }

  /**
   * Creates accounts from the staged rows, in one transaction of short statements, and writes one audit event.
   *
   * @param beforeTheEnd called before the statement that ends the import
   * @throws ImportRefusedError
   */
  async move(beforeTheEnd: () => Promise<void>): Promise<void> {
    const { audit, log, passwords } = this.services;
    const moveAll = async (manager: EntityManager): Promise<void> => {
      let seen = 0;
      this.created = 0;
      this.#generated = 0;
      for (let after = 0; after < this.#lastRow; after += AT_ONCE) {
        this.signal.throwIfAborted();
        const batch = await move(manager, this.id, after, LABEL);
        seen += batch.length;
        // The username was taken after its row was checked.
        const lost = batch.filter(({ credentialId }) => credentialId === null).map(({ row }) => row);
        for (const row of lost) this.#errors.add(row, [TAKEN]);
        await unstage(manager, this.id, lost);
        this.created += batch.length - lost.length;
        await this.#link(manager, batch);
      }
      if (seen !== this.#staged) throw new Error('Staged rows have disappeared');
      this.#refuseUnlessGood();
      await beforeTheEnd();
      await log.finish(this.id, 'imported', this, manager);
      if (this.created > 0) this.#record(manager);
    };
    await bulkTransaction((work) => audit.transaction(work), moveAll, this.signal);
    for (const secretHash of this.#costs.values()) passwords.expect(secretHash);
  }

  /**
   * The generated passwords in order of row, read and derived one batch at a time.
   *
   * @throws Error at the end, when PostgreSQL has lost staged rows in a crash, and passwords are missing
   */
  async *credentials(): AsyncGenerator<IssuedCredential> {
    if (this.options.dryRun) return;
    let count = 0;
    for (let after = 0; after < this.#lastRow; after += AT_ONCE) {
      if (this.#withheld) throw this.#withheld;
      const batch = await this.#bulk((manager) => generated(manager, this.id, after));
      for await (const credential of inTurns(batch)) {
        count++;
        yield { ...credential, ...this.#secretsOf(credential.row) };
      }
    }
    if (count !== this.#generated) {
      throw new Error(
        `Of ${String(this.#generated)} generated passwords, ${String(this.#generated - count)} were lost`,
      );
    }
  }

  /** Counts the generated passwords of a batch, and creates their links if the import asks for links. */
  async #link(manager: EntityManager, batch: readonly MovedRow[]): Promise<void> {
    const links: BulkLink[] = [];
    for await (const { row, credentialId, channelUserId, generated: isGenerated } of inTurns(batch)) {
      if (credentialId === null || !isGenerated) continue;
      this.#generated++;
      if (!this.options.links) continue;
      const { password } = this.#secrets.passwordOf(row);
      links.push({ channelUserId, credentialId, password, secret: this.#secrets.linkSecretOf(row) });
    }
    if (!this.options.links) return;
    const { ttlSeconds } = this.options.links;
    this.#linksExpireAt = await this.services.handovers.createMany(manager, links, this.actor, ttlSeconds);
  }

  #secretsOf(row: number): { password: string } | { handoverUrl: string; expiresAt: Date } {
    if (!this.options.links) return { password: this.#secrets.passwordOf(row).password };
    return {
      handoverUrl: this.services.handovers.urlOf(this.#secrets.linkSecretOf(row)),
      expiresAt: this.#linksExpireAt,
    };
  }

  /** Makes {@link credentials} fail from now on, for a recipient who may no longer see the passwords. */
  withhold(reason: Error): void {
    this.#withheld = reason;
  }

  /** Deletes the staged rows and forgets the passwords. */
  async forget(): Promise<void> {
    this.#secrets.forget();
    await clear(this.services.manager, this.id);
  }

  /** Whether the staged rows may become accounts. */
  get #mayMove(): boolean {
    return !this.options.dryRun && (this.options.partial || this.#errors.count === 0);
  }

  /** For statements outside of {@link move}, so that a slow one does not lose the passwords of a finished import. */
  #bulk<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    const { manager } = this.services;
    return bulkTransaction((run) => manager.transaction(run), work);
  }

  #refuseUnlessGood(): void {
    if (this.#mayMove) return;
    const { rows, failed } = this;
    throw new ImportRefusedError(this.id, { rows, failed, errorCount: this.#errors.count }, this.#errors.kept);
  }

  async #take(batch: readonly RawRow[]): Promise<void> {
    this.signal.throwIfAborted();
    const wrong = new Map<number, readonly FieldError[]>();
    const checked = await checkRows(batch, wrong, this.services.channelUsers);
    const keys = checked.map(({ usernameKey }) => usernameKey);
    const taken = await this.#bulk((manager) => takenUsernames(manager, keys));
    const free = checked.filter(({ row, usernameKey }) => {
      if (taken.has(usernameKey)) wrong.set(row, [TAKEN]);
      return !taken.has(usernameKey);
    });
    const rows = await inParallel(free, HASHED_AT_ONCE, (row) => this.#staging(row));
    const repeated = await this.#bulk((manager) => stage(manager, this.id, rows));
    for (const [row, first] of repeated) {
      wrong.set(row, [{ field: 'username', messages: [`is the same as in row ${String(first)}`] }]);
    }
    this.#staged += free.length - repeated.size;
    for (const [row, errors] of [...wrong].sort(([a], [b]) => a - b)) this.#errors.add(row, errors);
  }

  async #staging({ row, request, usernameKey }: CheckedRow): Promise<StagedRow> {
    const { password, passwordHash } = request;
    if (passwordHash?.startsWith('$2') === true) this.#bcryptHashes++;
    const account = accountOf(request, this.services.channelUsers);
    // Computes no hash that would not be stored, since a hash is slow.
    if (!this.#mayMove) return { row, usernameKey, account, secretHash: '', fingerprint: null };
    if (password === undefined && passwordHash === undefined) {
      const { secretHash, fingerprint } = this.#secrets.passwordOf(row);
      return { row, usernameKey, account, secretHash, fingerprint };
    }
    const secretHash = passwordHash ?? (await this.#hashOf(password ?? ''));
    if (passwordHash !== undefined || !isRandomUuid(password ?? ''))
      this.#costs.set(relativeCost(secretHash), secretHash);
    return { row, usernameKey, account, secretHash, fingerprint: null };
  }

  async #hashOf(password: string): Promise<string> {
    this.signal.throwIfAborted();
    return isRandomUuid(password)
      ? this.services.passwords.fastHash(password)
      : this.services.passwords.slowHash(password);
  }

  #record(manager: EntityManager): void {
    const { format, partial, links } = this.options;
    const { rows, created, failed, fileSha256 } = this;
    const made = links ? { links: this.#generated, linksExpireAt: this.#linksExpireAt } : {};
    const values = { rows, created, failed, format, partial, fileSha256, ...made };
    this.services.audit.record(manager, {
      actor: this.actor,
      action: 'channel-users.imported',
      target: { type: 'import', id: this.id, name: 'import' },
      changes: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, [null, value]])),
    });
  }
}
