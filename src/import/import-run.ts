import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { setImmediate as othersHaveHadTheirTurn } from 'node:timers/promises';
import type { EntityManager } from 'typeorm';
import type { AuditService } from '../audit/audit.service.ts';
import type { ChannelUserService } from '../channel-user/channel-user.service.ts';
import {
  derivePassword,
  isRandomUuid,
  type PasswordService,
  relativeCost,
  slowHashOf,
} from '../channel-user/password.service.ts';
import type { FieldError } from '../common/errors.ts';
import type { Actor } from '../common/request-context.ts';
import { toDto } from '../common/validation.ts';
import { ImportRow, type ImportSummaryDto } from './import.dto.ts';
import { ImportRefusedError, UnreadableFileError } from './import.errors.ts';
import { type RawRow, rowsOf } from './import-file.ts';
import type { ImportCounts, ImportLog, ImportOptions } from './import-log.service.ts';
import { RowErrors } from './row-errors.ts';
import {
  AT_ONCE,
  clear,
  generated,
  move,
  stage,
  type StagedCredential,
  type StagedRow,
  takenUsernames,
  unstage,
} from './staging.ts';

const MAX_ROWS = 1_000_000;
/** Rows that are checked before somebody else gets a turn. */
const CHECKED_AT_ONCE = 25;
/** One core stays free for partners who sign in. */
const HASHED_AT_ONCE = Math.max(1, availableParallelism() - 1);
const LABEL = 'imported';

export interface IssuedCredential extends StagedCredential {
  readonly password: string;
}

interface Services {
  readonly manager: EntityManager;
  readonly audit: AuditService;
  readonly channelUsers: ChannelUserService;
  readonly passwords: PasswordService;
  readonly log: ImportLog;
}

interface CheckedRow {
  readonly row: number;
  readonly request: ImportRow;
  readonly usernameKey: string;
}

/** One import, from the first byte of its file to the last password of its answer. */
export class ImportRun implements ImportCounts {
  rows = 0;
  created = 0;
  fileSha256: string | null = null;
  readonly #errors = new RowErrors();
  /** Generated passwords are made of it and of their row's number, and again for the answer: none is ever written down. */
  readonly #key = randomBytes(32);
  readonly #costs = new Map<number, string>();
  #staged = 0;
  /** Accounts with a generated password. */
  #generated = 0;
  #lastRow = 0;

  constructor(
    readonly id: string,
    private readonly services: Services,
    private readonly options: ImportOptions,
    private readonly actor: Actor,
    /** Ends it, as long as it is not over. */
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
      for await (const chunk of endedBy(signal, bytes)) {
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
   * Makes accounts of what was staged, all in one transaction whose statements are short, and writes the one event.
   *
   * @param beforeTheEnd is called before the statement that ends the import
   * @throws ImportRefusedError
   */
  async move(beforeTheEnd: () => Promise<void>): Promise<void> {
    const { audit, log, passwords } = this.services;
    await audit.transaction(async (manager) => {
      let seen = 0;
      this.created = 0;
      this.#generated = 0;
      for (let after = 0; after < this.#lastRow; after += AT_ONCE) {
        this.signal.throwIfAborted();
        const batch = await move(manager, this.id, after, LABEL);
        seen += batch.length;
        // Somebody took the name after it was looked for.
        const lost = batch.filter(({ created }) => !created).map(({ row }) => row);
        for (const row of lost) this.#errors.add(row, [TAKEN]);
        await unstage(manager, this.id, lost);
        this.created += batch.length - lost.length;
        this.#generated += batch.filter(({ created, generated: isGenerated }) => created && isGenerated).length;
      }
      if (seen !== this.#staged) throw new Error('Rows that were staged have gone');
      this.#refuseUnlessGood();
      await beforeTheEnd();
      await log.finish(this.id, 'imported', this, manager);
      if (this.created > 0) this.#record(manager);
    });
    for (const secretHash of this.#costs.values()) passwords.expect(secretHash);
  }

  /**
   * The passwords that were generated, by row; read and made as they are asked for.
   *
   * @throws Error after the last one that is left, when PostgreSQL has lost what was staged: it does in a crash
   */
  async *credentials(): AsyncGenerator<IssuedCredential> {
    if (this.options.dryRun) return;
    let count = 0;
    for (let after = 0; after < this.#lastRow; after += AT_ONCE) {
      for (const credential of await generated(this.services.manager, this.id, after)) {
        count++;
        yield { ...credential, password: derivePassword(this.#key, credential.row).password };
      }
    }
    if (count !== this.#generated) {
      throw new Error(`Of ${String(this.#generated)} generated passwords, ${String(this.#generated - count)} are lost`);
    }
  }

  /** Forgets what it has staged, and the passwords. */
  async forget(): Promise<void> {
    this.#key.fill(0);
    await clear(this.services.manager, this.id);
  }

  /** Whether what is staged may become accounts. */
  get #mayMove(): boolean {
    return !this.options.dryRun && (this.options.partial || this.#errors.count === 0);
  }

  #refuseUnlessGood(): void {
    if (this.#mayMove) return;
    const { rows, failed } = this;
    throw new ImportRefusedError(this.id, { rows, failed, errorCount: this.#errors.count }, this.#errors.kept);
  }

  async #take(batch: readonly RawRow[]): Promise<void> {
    this.signal.throwIfAborted();
    const { manager } = this.services;
    const wrong = new Map<number, readonly FieldError[]>();
    const checked = await this.#check(batch, wrong);
    const taken = await takenUsernames(
      manager,
      checked.map(({ usernameKey }) => usernameKey),
    );
    const free = checked.filter(({ row, usernameKey }) => {
      if (taken.has(usernameKey)) wrong.set(row, [TAKEN]);
      return !taken.has(usernameKey);
    });
    const repeated = await stage(manager, this.id, await inParallel(free, HASHED_AT_ONCE, (row) => this.#staging(row)));
    for (const [row, first] of repeated) {
      wrong.set(row, [{ field: 'username', messages: [`is that of row ${String(first)}`] }]);
    }
    this.#staged += free.length - repeated.size;
    for (const [row, errors] of [...wrong].sort(([a], [b]) => a - b)) this.#errors.add(row, errors);
  }

  async #check(batch: readonly RawRow[], wrong: Map<number, readonly FieldError[]>): Promise<CheckedRow[]> {
    const checked: CheckedRow[] = [];
    for (const [i, { row, fields, error }] of batch.entries()) {
      if (i % CHECKED_AT_ONCE === 0) await othersHaveHadTheirTurn();
      if (error) {
        wrong.set(row, [error]);
        continue;
      }
      const { value: request, errors } = toDto(fields, ImportRow);
      if (errors.length > 0) wrong.set(row, errors);
      else checked.push({ row, request, usernameKey: this.services.channelUsers.keyOf(request.username) });
    }
    return checked;
  }

  async #staging({ row, request, usernameKey }: CheckedRow): Promise<StagedRow> {
    const { password, passwordHash, ...description } = request;
    const { channelUsers } = this.services;
    const account = channelUsers.columnsOf({ ...channelUsers.described(description), id: randomUUID() });
    // A hash takes its time: none is made that will not be kept.
    if (!this.#mayMove) return { row, usernameKey, account, secretHash: '', fingerprint: null };
    if (password === undefined && passwordHash === undefined) {
      const { secretHash, fingerprint } = derivePassword(this.#key, row);
      return { row, usernameKey, account, secretHash, fingerprint };
    }
    const secretHash = passwordHash ?? (await this.#hashOf(password ?? ''));
    if (passwordHash !== undefined || !isRandomUuid(password ?? ''))
      this.#costs.set(relativeCost(secretHash), secretHash);
    return { row, usernameKey, account, secretHash, fingerprint: null };
  }

  async #hashOf(password: string): Promise<string> {
    this.signal.throwIfAborted();
    return isRandomUuid(password) ? this.services.passwords.fastHash(password) : slowHashOf(password);
  }

  #record(manager: EntityManager): void {
    const { format, partial } = this.options;
    const { rows, created, failed, fileSha256 } = this;
    const values = { rows, created, failed, format, partial, fileSha256 };
    this.services.audit.record(manager, {
      actor: this.actor,
      action: 'channel-users.imported',
      target: { type: 'import', id: this.id, name: 'import' },
      changes: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, [null, value]])),
    });
  }
}

const TAKEN: FieldError = { field: 'username', messages: ['is taken'] };

/** The chunks until a signal ends them, also while none comes. */
async function* endedBy<T>(signal: AbortSignal, source: AsyncIterable<T>): AsyncGenerator<T> {
  const chunks = source[Symbol.asyncIterator]();
  for (;;) {
    signal.throwIfAborted();
    // A promise of its own for each: one for all would keep every chunk.
    const ended = Promise.withResolvers<never>();
    const end = (): void => {
      ended.reject(signal.reason);
    };
    signal.addEventListener('abort', end);
    try {
      const next = await Promise.race([chunks.next(), ended.promise]);
      if (next.done === true) return;
      yield next.value;
    } finally {
      signal.removeEventListener('abort', end);
    }
  }
}

/** Does something with each, so many at once, and keeps the order. */
async function inParallel<T, R>(items: readonly T[], atOnce: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length);
  const left = items.entries();
  const worker = async (): Promise<void> => {
    for (const [i, item] of left) results[i] = await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}
