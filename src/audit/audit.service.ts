import { Injectable, Logger } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { randomBytes, randomUUID } from 'node:crypto';
import { type EntityManager, MoreThan, Repository } from 'typeorm';
import { decodeCursor, encodeCursor, type Page, pageOf, UUID_PATTERN } from '../common/page.ts';
import type { Actor } from '../common/request-context.ts';
import { RESOURCE_TYPE } from '../common/security.ts';
import { DecryptionError, EncryptionService, seal, unseal } from '../encryption/encryption.service.ts';
import { AuditChain, type UnlinkedEvent } from './audit-chain.service.ts';
import { AuditEvent, type CoreTargetType } from './audit-event.entity.ts';
import type { Link } from './chain-link.ts';
import { LivingSubjectError, UnknownSubjectError, UnreadableKeyError } from './audit.errors.ts';
import { PersonalKey } from './personal-key.entity.ts';
import { actorContext, ERASURE, keyContext, type PersonalKeys, personalKeys, targetContext } from './personal-part.ts';

/** Field → [before, after], as JSON values. */
export type Changes = Record<string, [before: unknown, after: unknown]>;

export interface AuditRecord {
  actor: Actor;
  /** `noun.past-participle`, as in `channel-user.suspended`. */
  action: string;
  /** Of a module's resource: its `type` as `@Granted()` has it, and its `id`, a UUID. */
  target: { type: CoreTargetType | (string & {}); id: string; name: string };
  changes?: Changes;
  reason?: string | undefined;
}

/** What is recorded and not written yet, as JSON. */
interface Draft extends Pick<AuditRecord, 'actor' | 'action' | 'target'> {
  readonly actorPersonal: string;
  readonly targetPersonal: string;
  readonly changes: string;
}

export interface ReadableEvent {
  id: string;
  at: Date;
  actor: { type: string; id: string | null; name: string };
  action: string;
  target: { type: string; id: string; name: string };
  address: string | null;
  requestId: string | null;
  reason: string | null;
  changes: Changes;
}

export interface AuditFilter {
  /** A staff member's id, or `staff`, `cli` or `system`. */
  actor?: string;
  action?: string;
  target?: string;
  from?: Date;
  to?: Date;
}

type StoredPersonally = Omit<AuditEvent, 'seq' | 'mac'>;

interface ActorPersonal {
  name: string;
  address: string | null;
}

interface TargetPersonal {
  name: string;
  reason: string | null;
  changes: Changes;
  /** Where the request came from, when it was nobody of ours who acted: then it is the target's. */
  address?: string;
}

/** Names, addresses and free text: kept under the subject's own key. */
const PERSONAL_FIELDS = new Set(['username', 'displayName', 'contactEmail', 'notes', 'email', 'name', 'label']);
/** A change of one of these is told, its value never. */
const SECRET_FIELDS = new Set(['password', 'secret', 'passwordHash', 'secretHash', 'token']);
const REENCRYPTED_AT_ONCE = 500;
const EXPORTED_AT_ONCE = 500;
/** `noun.past-participle` */
const ACTION = /^[a-z][a-z0-9-]{0,31}\.[a-z][a-z0-9-]{0,31}$/;
const MASKED = '[masked]';
const ERASED = '[erased]';
/** The key is there and does not open: nobody was erased. */
const UNREADABLE = '[unreadable]';

/** From one action to the next by the index, however many events each has. */
const ACTIONS = `
  WITH RECURSIVE known AS (
    (SELECT action FROM audit_event ORDER BY action LIMIT 1)
    UNION ALL
    SELECT (SELECT action FROM audit_event WHERE action > known.action ORDER BY action LIMIT 1)
    FROM known WHERE known.action IS NOT NULL
  )
  SELECT action FROM known WHERE action IS NOT NULL ORDER BY action COLLATE "C"`;

/**
 * The differences between two states of the same resource.
 *
 * @returns only the fields that differ, compared as JSON
 */
export function changesBetween(before: Record<string, unknown>, after: Record<string, unknown>): Changes {
  return Object.fromEntries(
    Object.keys({ ...before, ...after })
      .filter((field) => JSON.stringify(before[field] ?? null) !== JSON.stringify(after[field] ?? null))
      .map((field) => [field, [before[field] ?? null, after[field] ?? null]]),
  );
}

@Injectable()
export class AuditService {
  readonly #logger = new Logger(AuditService.name);
  /** Of the transactions under way. */
  readonly #drafts = new WeakMap<EntityManager, Draft[]>();

  constructor(
    @InjectRepository(AuditEvent) private readonly events: Repository<AuditEvent>,
    @InjectRepository(PersonalKey) private readonly keys: Repository<PersonalKey>,
    private readonly encryption: EncryptionService,
    private readonly chain: AuditChain,
  ) {}

  /** How many events this instance wrote, and the last place in the chain that it knows. */
  get stats(): { readonly events: number; readonly sequence: number | undefined } {
    return this.chain.stats;
  }

  /**
   * Changes something and records it: the events of {@link record} are appended to the trail after everything that
   * `work` did, as the last statement before the commit. If they cannot be written, nothing happens.
   */
  async transaction<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    // Why it has not begun is said when events are appended; without any, it does not matter.
    await this.chain.begun().catch(() => undefined);
    let count = 0;
    let last: Link | undefined;
    const result = await this.events.manager.transaction(async (manager) => {
      const drafts: Draft[] = [];
      this.#drafts.set(manager, drafts);
      try {
        const done = await work(manager);
        if (drafts.length > 0) last = await this.chain.append(manager, await this.#sealed(manager, drafts));
        count = drafts.length;
        return done;
      } finally {
        this.#drafts.delete(manager);
      }
    });
    if (last) this.chain.appended(count, last);
    return result;
  }

  /**
   * Records an event of the change that a transaction makes.
   *
   * @param manager that {@link transaction} gave, while its work is under way; any other is an error
   */
  record(manager: EntityManager, { actor, action, target, changes = {}, reason }: AuditRecord): void {
    const drafts = this.#drafts.get(manager);
    if (!drafts) throw new Error(`"${action}" was recorded outside of AuditService.transaction()`);
    if (!ACTION.test(action) || !RESOURCE_TYPE.test(target.type) || !UUID_PATTERN.test(target.id)) {
      throw new Error(`"${action}" of ${target.type} "${target.id}" is no event of the trail`);
    }
    const open: Changes = {};
    const personal: TargetPersonal = { name: target.name, reason: reason ?? null, changes: {} };
    for (const [field, [before, after]] of Object.entries(changes)) {
      if (SECRET_FIELDS.has(field)) open[field] = [before === null ? null : MASKED, after === null ? null : MASKED];
      else (PERSONAL_FIELDS.has(field) ? personal.changes : open)[field] = [before, after];
    }
    if (actor.id === null && actor.address !== null) personal.address = actor.address;
    const actorPersonal: ActorPersonal = { name: actor.name, address: actor.address };
    // Written down at once: what the caller does with these objects later did not happen yet.
    drafts.push({
      actor,
      action,
      target,
      actorPersonal: JSON.stringify(actorPersonal),
      targetPersonal: JSON.stringify(personal),
      changes: JSON.stringify(open),
    });
  }

  /** A page of the trail, newest first. What belongs to an erased person reads `[erased]`, and `[unreadable]` where a key is damaged. */
  async list(
    filter: AuditFilter,
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<Page<ReadableEvent>> {
    const query = this.#filtered(filter)
      .orderBy('event.seq', 'DESC')
      .take(limit + 1);
    if (cursor !== undefined) {
      const [seq] = decodeCursor(cursor, 'seq', [(text) => /^\d{1,18}$/.test(text)]);
      query.andWhere('event.seq < :seq', { seq });
    }
    const page = pageOf(await query.getMany(), limit, ({ seq }) => encodeCursor('seq', [seq]));
    return { items: await this.readable(page.items), nextCursor: page.nextCursor };
  }

  /** All events that a filter lets through, oldest first, with their places in the chain, a JSON text a line; read as it is sent, page by page. */
  async *ndjson(filter: AuditFilter): AsyncGenerator<string> {
    const filtered = this.#filtered(filter).orderBy('event.seq', 'ASC').take(EXPORTED_AT_ONCE);
    let after = '0';
    let rows: AuditEvent[];
    do {
      rows = await filtered.clone().andWhere('event.seq > :after', { after }).getMany();
      after = rows.at(-1)?.seq ?? after;
      // Also when there is nothing: a file begins with its first chunk.
      const events = await this.readable(rows);
      yield rows.map(({ seq, mac }, i) => lineOf({ ...events[i], sequence: Number(seq), mac })).join('');
    } while (rows.length === EXPORTED_AT_ONCE);
  }

  /** Every action that the trail tells of, by name. */
  async actions(): Promise<string[]> {
    const rows = await this.events.query<{ action: string }[]>(ACTIONS);
    return rows.map(({ action }) => action);
  }

  #filtered(filter: AuditFilter) {
    const query = this.events.createQueryBuilder('event');
    if (filter.actor !== undefined) {
      query.andWhere(UUID_PATTERN.test(filter.actor) ? 'event.actorId = :actor' : 'event.actorType = :actor', {
        actor: filter.actor.toLowerCase(),
      });
    }
    if (filter.target !== undefined) query.andWhere('event.targetId = :target', { target: filter.target });
    if (filter.action !== undefined) query.andWhere('event.action = :action', { action: filter.action });
    if (filter.from !== undefined) query.andWhere('event.at >= :from', { from: filter.from });
    if (filter.to !== undefined) query.andWhere('event.at < :to', { to: filter.to });
    return query;
  }

  /** What events say, decrypted as far as there are keys. */
  async readable(events: StoredPersonally[]): Promise<ReadableEvent[]> {
    const keys = await this.#keysOf(events);
    return events.map((event) => readable(event, keys));
  }

  /**
   * Encrypts the personal keys and that of the chain anew under the newest key encryption key, in steps that can be interrupted.
   *
   * @returns how many were under another one
   */
  async reencrypt(): Promise<number> {
    let after = '00000000-0000-0000-0000-000000000000';
    let count = (await this.chain.reencrypt()) ? 1 : 0;
    for (;;) {
      const rows = await this.keys.find({
        where: { subjectId: MoreThan(after) },
        order: { subjectId: 'ASC' },
        take: REENCRYPTED_AT_ONCE,
      });
      for (const { subjectId, wrappedKey } of rows) {
        after = subjectId;
        const rewrapped = this.#renewed(subjectId, wrappedKey);
        if (!rewrapped) continue;
        // Only what was read: the person may have been erased meanwhile.
        await this.keys.update({ subjectId, wrappedKey }, { wrappedKey: rewrapped });
        count++;
      }
      if (rows.length < REENCRYPTED_AT_ONCE) return count;
    }
  }

  /**
   * Makes what the trail says about a person or partner unreadable for good: their key is deleted. The events stay, and
   * so does the chain, which covers what is encrypted.
   *
   * @throws UnknownSubjectError, LivingSubjectError
   */
  async erase(subjectId: string, reason: string | undefined, actor: Actor): Promise<void> {
    await this.transaction(async (manager) => {
      const [account] = await manager.query<{ exists: boolean }[]>(
        `SELECT EXISTS (SELECT FROM channel_user WHERE id = $1) OR EXISTS (SELECT FROM staff WHERE id = $1) AS exists`,
        [subjectId],
      );
      if (account?.exists === true) throw new LivingSubjectError();
      const { affected } = await manager.delete(PersonalKey, { subjectId });
      if (affected !== 1) throw new UnknownSubjectError();
      const known = await manager.findOne(AuditEvent, { where: { targetId: subjectId }, order: { seq: 'DESC' } });
      // Whoever only ever acted is staff. The new event brings a new key, which opens nothing of before.
      const target = { type: known?.targetType ?? 'staff', id: subjectId, name: ERASED };
      this.record(manager, { actor, action: ERASURE, target, reason });
    });
  }

  async #sealed(manager: EntityManager, drafts: Draft[]): Promise<UnlinkedEvent[]> {
    const subjects = drafts.flatMap(({ actor, target }) => (actor.id === null ? [target.id] : [actor.id, target.id]));
    const keys = await this.#keysFor(manager, [...new Set(subjects)]);
    return drafts.map(({ actor, action, target, ...texts }) => {
      const id = randomUUID();
      const actorKey = actor.id === null ? undefined : keys.get(actor.id);
      const targetKey = keys.get(target.id);
      if (!targetKey || (actor.id !== null && !actorKey)) throw new Error('A personal key has gone');
      return {
        id,
        actorType: actor.type,
        actorId: actor.id,
        actorPersonal: actorKey ? seal(actorKey, Buffer.from(texts.actorPersonal), actorContext(id)) : null,
        action,
        targetType: target.type,
        targetId: target.id,
        targetPersonal: seal(targetKey, Buffer.from(texts.targetPersonal), targetContext(id)),
        changes: texts.changes,
        requestId: actor.requestId,
      };
    });
  }

  /**
   * Makes those that are missing, in one order: of two that need the same ones, neither waits for the other.
   *
   * @throws UnreadableKeyError
   */
  async #keysFor(manager: EntityManager, subjects: string[]): Promise<PersonalKeys> {
    const keys = await personalKeys(manager, this.encryption, subjects);
    for (const [subject, key] of keys) if (!key) throw new UnreadableKeyError(subject);
    const missing = subjects.filter((subject) => !keys.has(subject)).sort();
    if (missing.length === 0) return keys;
    await manager
      .createQueryBuilder()
      .insert()
      .into(PersonalKey)
      .values(
        missing.map((subjectId) => ({
          subjectId,
          wrappedKey: this.encryption.encrypt(randomBytes(32), keyContext(subjectId)),
        })),
      )
      .orIgnore()
      .execute();
    return personalKeys(manager, this.encryption, subjects);
  }

  #keysOf(events: StoredPersonally[]): Promise<PersonalKeys> {
    const subjects = new Set(
      events.flatMap(({ actorId, targetId }) => (actorId === null ? [targetId] : [actorId, targetId])),
    );
    return personalKeys(this.keys.manager, this.encryption, subjects);
  }

  /** One that is damaged must not keep the others under an old key encryption key. */
  #renewed(subjectId: string, wrappedKey: Buffer): Buffer | undefined {
    try {
      return this.encryption.renewed(wrappedKey, keyContext(subjectId));
    } catch (error) {
      if (!(error instanceof DecryptionError)) throw error;
      this.#logger.warn(`The key of the audit trail for ${subjectId} was left as it is: ${error.message}`);
      return undefined;
    }
  }
}

const lineOf = ({ mac, ...event }: Partial<ReadableEvent> & { sequence: number; mac: Buffer | null }): string =>
  `${JSON.stringify({ ...event, mac: mac?.toString('hex') ?? null })}\n`;

function unsealJson<T>(key: Buffer | undefined, sealed: Buffer | null, context: string): T | undefined {
  if (!key || !sealed) return undefined;
  try {
    return JSON.parse(unseal(key, sealed, context).toString()) as T;
  } catch (error) {
    // The person was erased and came back under a new key: the old part stays unreadable.
    if (error instanceof DecryptionError) return undefined;
    throw error;
  }
}

function readable(event: StoredPersonally, keys: PersonalKeys): ReadableEvent {
  const { id, actorId, targetId } = event;
  const actorKey = actorId === null ? undefined : keys.get(actorId);
  const actor = unsealJson<ActorPersonal>(actorKey, event.actorPersonal, actorContext(id));
  const target = unsealJson<TargetPersonal>(keys.get(targetId), event.targetPersonal, targetContext(id));
  const inPlaceOf = (subject: string): string => (keys.has(subject) && !keys.get(subject) ? UNREADABLE : ERASED);
  return {
    id,
    at: event.at,
    actor: {
      type: event.actorType,
      id: actorId,
      name: actorId === null ? event.actorType : (actor?.name ?? inPlaceOf(actorId)),
    },
    action: event.action,
    target: { type: event.targetType, id: targetId, name: target?.name ?? inPlaceOf(targetId) },
    address: actor?.address ?? target?.address ?? null,
    requestId: event.requestId,
    reason: target === undefined ? inPlaceOf(targetId) : target.reason,
    changes: { ...event.changes, ...target?.changes },
  };
}
