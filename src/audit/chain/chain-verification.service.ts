import { type BeforeApplicationShutdown, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { Clock } from '../../platform/common/clock.ts';
import { Scheduler } from '../../platform/common/scheduler.ts';
import { Turns } from '../../platform/common/turns.ts';
import { ADVISORY_LOCKS, ifUnlocked } from '../../platform/database/advisory-locks.ts';
import { DecryptionError, EncryptionService, seal, unseal } from '../../platform/encryption/encryption.service.ts';
import { BrokenChainError } from './chain.errors.ts';
import { type UnreadablePart, unreadableParts } from './personal-part.ts';
import { AuditChain, reasonOf } from './audit-chain.service.ts';
import { BEFORE_ALL, type EventPage } from './chain-events.ts';
import { type ChainHead, type HeadRow, linkOf } from './chain-head.ts';
import {
  ChainStart,
  ChainVerifier,
  type Finding,
  type FindingKind,
  isSame,
  type Link,
  type LinkedEvent,
  MAX_FINDINGS,
  type StoredEvent,
} from './chain-link.ts';

/** What the last verification found, here or on another instance. */
export interface Verification {
  readonly at: Date;
  /** The last place that was verified. */
  readonly sequence: number;
  readonly ok: boolean;
  /** The first finding, in words. */
  readonly problem: string | null;
}

export interface ChainReport {
  /** The number of events, those older than the chain included. */
  readonly events: number;
  readonly head: ChainHead | undefined;
  readonly kinds: readonly FindingKind[];
  /** The first {@link MAX_FINDINGS} findings, sorted by place. */
  readonly findings: readonly Finding[];
}

/** A verification under way. */
interface Run {
  readonly manager: EntityManager;
  readonly row: HeadRow;
  readonly verifier: ChainVerifier;
  readonly turns: Turns;
  /** Personal parts that cannot be read, by subject. */
  readonly unreadable: Map<string, UnreadablePart>;
}

const VERIFIED_CONTEXT = 'audit-chain:verified';
/** Milliseconds between an instance's checks whether the daily verification is due. */
const SCHEDULE_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** Verifies the chain of the audit trail, once a day and on demand, on one instance at a time. */
@Injectable()
export class ChainVerification implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #logger = new Logger(ChainVerification.name);
  #verifying: { here: Promise<boolean>; done: Promise<void> } | undefined;

  constructor(
    private readonly chain: AuditChain,
    private readonly dataSource: DataSource,
    private readonly encryption: EncryptionService,
    private readonly clock: Clock,
    private readonly scheduler: Scheduler,
  ) {}

  onApplicationBootstrap(): void {
    const run = (): Promise<void> => this.verifyWhenDue();
    this.scheduler.schedule({ name: 'Verifying the audit trail', everyMs: SCHEDULE_MS, run });
  }

  /** Waits for a running verification, which ends soon because the stopping chain yields no more events. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.#verifying?.done;
  }

  /** The head, what the last verification found, and whether one runs. @throws BrokenChainError */
  async state(): Promise<{ head: ChainHead; verified: Verification | null; verifying: boolean }> {
    await this.chain.started();
    // Reads the lock before the row: if no verification runs any more, the row has the result of the last.
    const [lock] = await this.dataSource.query<{ held: boolean }[]>(
      `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND objsubid = 1
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS held`,
      [ADVISORY_LOCKS.chainVerification],
    );
    const verifying = this.#verifying !== undefined || lock?.held === true;
    const row = await this.chain.row();
    return { head: linkOf(row), verified: this.#verificationOf(row), verifying };
  }

  /**
   * Verifies the whole chain in the background, unless a verification runs already, here or on another instance. No
   * part is skipped, since an event that was intact yesterday can be edited today.
   *
   * @returns whether this instance verifies now; if not, the log says why
   */
  async verifyInBackground(): Promise<boolean> {
    const isHere = await this.#verifyHere().here;
    if (!isHere) {
      this.#logger.warn(
        'This instance does not verify the audit trail: another instance is doing so, or the line above says why',
      );
    }
    return isHere;
  }

  /** Verifies the chain if the last verification is at least a day old. */
  async verifyWhenDue(): Promise<void> {
    const { verified } = await this.state();
    if (verified && verified.at.getTime() > this.clock.now() - DAY_MS) return;
    await this.#verifyHere().done;
  }

  /**
   * Verifies the whole chain, in constant memory.
   *
   * @param expected a head that was kept elsewhere, which the chain must pass through
   */
  async verify(expected?: Link, manager = this.dataSource.manager): Promise<ChainReport> {
    let row: HeadRow;
    let key: Buffer;
    try {
      row = await this.chain.row(manager);
      key = this.chain.keyOf(row);
    } catch (error) {
      if (!(error instanceof BrokenChainError)) throw error;
      const finding = { kind: 'missing', sequence: 0, detail: `cannot be verified: ${error.reason}` } as const;
      return { events: 0, head: undefined, kinds: ['missing'], findings: [finding] };
    }
    const head = linkOf(row);
    const start = { sequence: Number(row.genesisSequence), mac: row.genesisMac };
    const verifier = new ChainVerifier(key, start, expected);
    const run = { manager, row, verifier, turns: new Turns(), unreadable: new Map<string, UnreadablePart>() };
    await this.#countOutside(run);
    const eventsBefore = await this.#verifyBeforeChain(run, new ChainStart(key));
    await this.#verifyChain(run);
    for (const { sequence, detail } of run.unreadable.values()) verifier.found('unreadable', sequence, detail);
    // Reads the head in the same statement, since events may be appended meanwhile.
    const beyond = await manager.query<{ sequence: string }[]>(
      'SELECT seq AS sequence FROM audit_event WHERE seq > (SELECT sequence FROM audit_chain) ORDER BY seq LIMIT 10',
    );
    for (const { sequence } of beyond) verifier.found('inserted', Number(sequence), 'is after the head');
    const findings = verifier.end(head);
    return { events: eventsBefore + verifier.events, head, kinds: [...verifier.kinds].sort(), findings };
  }

  /** Verifies the events older than the chain, which one MAC covers. @returns how many there are */
  async #verifyBeforeChain(run: Run, start: ChainStart): Promise<number> {
    const { manager, row, verifier, turns, unreadable } = run;
    for await (const page of this.chain.pages(BEFORE_ALL, row.genesisSequence, manager)) {
      for (const event of page.events) {
        if (event.mac === null) start.add(event);
        else verifier.found('inserted', event.sequence, 'has a MAC, although it is older than the chain');
        if (turns.isOver) await turns.next();
      }
      await this.#count(run, page);
      await this.#readPersonalParts(
        run,
        page.events.filter(({ mac }) => mac === null),
      );
    }
    // If these events were changed, that finding also explains the parts that cannot be read.
    if (!isUnchanged(start, run)) unreadable.clear();
    return start.events;
  }

  async #verifyChain(run: Run): Promise<void> {
    const { manager, row, verifier, turns } = run;
    for await (const page of this.chain.pages(row.genesisSequence, row.sequence, manager)) {
      const genuine: LinkedEvent[] = [];
      for (const event of page.events) {
        if (verifier.add(event)) genuine.push(event);
        if (turns.isOver) await turns.next();
      }
      await this.#count(run, page);
      await this.#readPersonalParts(run, genuine);
    }
  }

  async #readPersonalParts({ manager, unreadable }: Run, events: readonly StoredEvent[]): Promise<void> {
    for await (const part of unreadableParts(manager, this.encryption, events)) {
      if (unreadable.size < MAX_FINDINGS && !unreadable.has(part.subject)) unreadable.set(part.subject, part);
    }
  }

  /** If the primary key was dropped, a second event at the last place of a page would be on no page. */
  async #count({ manager, verifier }: Run, { events, after, upTo }: EventPage): Promise<void> {
    const [row] = await manager.query<{ count: string }[]>(
      'SELECT count(*) AS count FROM audit_event WHERE seq > $1 AND seq <= $2',
      [after, upTo],
    );
    const more = Number(row?.count) - events.length;
    if (more > 0) verifier.found('inserted', Number(upTo), `shares its sequence with ${String(more)} more`);
    if (more < 0) verifier.found('missing', Number(upTo), `or an event before it was deleted during the verification`);
  }

  /** Finds the events that no page covers: those without a place, or with the smallest one. */
  async #countOutside({ manager, verifier }: Run): Promise<void> {
    const [row] = await manager.query<{ count: string }[]>(
      'SELECT count(*) AS count FROM audit_event WHERE seq <= $1 OR seq IS NULL',
      [BEFORE_ALL],
    );
    const count = Number(row?.count);
    if (count > 0) verifier.found('inserted', 0, `is one of ${String(count)} events without a valid sequence`);
  }

  #verifyHere(): { here: Promise<boolean>; done: Promise<void> } {
    if (this.#verifying) return this.#verifying;
    const { promise: here, resolve: tell } = Promise.withResolvers<boolean>();
    const done = this.#verifyOnce(() => {
      tell(true);
    })
      .catch((error: unknown) => {
        this.#logger.warn(`The audit trail was not verified: ${reasonOf(error)}`);
      })
      .finally(() => {
        this.#verifying = undefined;
        tell(false);
      });
    this.#verifying = { here, done };
    return this.#verifying;
  }

  /** @param begins is called once this instance holds the lock, so that no other verifies */
  async #verifyOnce(begins: () => void): Promise<void> {
    await this.chain.begun();
    await ifUnlocked(this.dataSource, ADVISORY_LOCKS.chainVerification, async (manager) => {
      begins();
      await this.#verifyAndNote(manager);
    });
  }

  async #verifyAndNote(manager: EntityManager): Promise<void> {
    const report = await this.verify(undefined, manager);
    const { head, findings } = report;
    const [first] = findings;
    const problem = first ? `Event ${String(first.sequence)} ${first.detail}` : null;
    // The log keeps a copy of the head that somebody with access to the database alone cannot change.
    if (head && !first) {
      this.#logger.log(
        `The audit trail is intact up to event ${String(head.sequence)}, MAC ${head.mac.toString('hex')}`,
      );
    } else this.#logger.error(`The audit trail is broken: ${problem ?? ''} (${report.kinds.join(', ')})`);
    if (!head) return;
    const { key } = await this.chain.anchor();
    const verification = { at: new Date(this.clock.now()), sequence: head.sequence, ok: !first, problem };
    await manager.query('UPDATE audit_chain SET verified = $1 WHERE id', [
      seal(key, Buffer.from(JSON.stringify(verification)), VERIFIED_CONTEXT),
    ]);
  }

  #verificationOf(row: HeadRow): Verification | null {
    if (!row.verified) return null;
    try {
      const text = unseal(this.chain.keyOf(row), row.verified, VERIFIED_CONTEXT).toString();
      const verification = JSON.parse(text) as Omit<Verification, 'at'> & { at: string };
      return { ...verification, at: new Date(verification.at) };
    } catch (error) {
      // Latchkey did not write this result, so it counts as none.
      if (error instanceof DecryptionError) return null;
      throw error;
    }
  }
}

/** Whether the events older than the chain are unchanged since it began. Any difference becomes a finding. */
function isUnchanged(start: ChainStart, { row, verifier }: Run): boolean {
  const lacking = Number(row.genesisEvents) - start.events;
  const mac = start.mac();
  if (lacking === 0 && start.sequence === Number(row.genesisSequence) && isSame(mac, row.genesisMac)) return true;
  const kind = lacking > 0 ? 'missing' : lacking < 0 ? 'inserted' : 'edited';
  const detail = {
    missing: `is one of the events from before the chain, of which ${String(lacking)} are missing`,
    inserted: `is one of the events from before the chain, to which ${String(-lacking)} were added`,
    edited: 'is one of the events from before the chain, one of which was changed or moved',
  }[kind];
  verifier.found(kind, 1, detail);
  return false;
}
