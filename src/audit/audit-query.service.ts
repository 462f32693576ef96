import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { decodeCursor, encodeCursor, type Page, pageOf } from '../platform/api/page.ts';
import { Turns } from '../platform/common/turns.ts';
import { UUID_PATTERN } from '../platform/common/uuid.ts';
import { DecryptionError, EncryptionService, unseal } from '../platform/encryption/encryption.service.ts';
import { CSV_HEADER, eventLines } from './audit-csv.ts';
import { AuditEvent } from './chain/audit-event.entity.ts';
import type { Changes } from './audit.service.ts';
import {
  actorContext,
  type ActorPersonal,
  ERASED,
  type PersonalKeys,
  personalKeys,
  targetContext,
  type TargetPersonal,
} from './chain/personal-part.ts';

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
  /** The id of a staff member or service account, or a type of actor. */
  actor?: string;
  action?: string;
  target?: string;
  from?: Date;
  to?: Date;
}

type StoredPersonally = Omit<AuditEvent, 'seq' | 'mac'>;

/** Stands for a part whose key exists but cannot be decrypted: the person was not erased. */
const UNREADABLE = '[unreadable]';

/** Rows per query of an export. Parsing one result blocks the event loop. */
const EXPORTED_AT_ONCE = 100;
/** Jumps from one action to the next in the index: the cost grows with the actions, not with their events. */
const ACTIONS = `
  WITH RECURSIVE known AS (
    (SELECT action FROM audit_event ORDER BY action LIMIT 1)
    UNION ALL
    SELECT (SELECT action FROM audit_event WHERE action > known.action ORDER BY action LIMIT 1)
    FROM known WHERE known.action IS NOT NULL
  )
  SELECT action FROM known WHERE action IS NOT NULL ORDER BY action COLLATE "C"`;

/** Lists and exports the audit trail, and decrypts the personal parts whose keys still exist. */
@Injectable()
export class AuditQueryService {
  constructor(
    @InjectRepository(AuditEvent) private readonly events: Repository<AuditEvent>,
    private readonly encryption: EncryptionService,
  ) {}

  /**
   * A page of the trail, newest first. Parts of an erased person read `[erased]`, and parts whose key is damaged read
   * `[unreadable]`.
   */
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

  /** The first events that a request recorded, in their order. */
  async ofRequest(requestId: string, limit: number): Promise<ReadableEvent[]> {
    return this.readable(await this.events.find({ where: { requestId }, order: { seq: 'ASC' }, take: limit }));
  }

  /**
   * All matching events with their places in the chain, oldest first, as one JSON text a line. Each page is read when
   * the one before has been sent.
   */
  async *ndjson(filter: AuditFilter): AsyncGenerator<string> {
    for await (const { rows, events } of this.#exported(filter)) {
      yield rows.map(({ seq, mac }, i) => lineOf({ ...events[i], sequence: Number(seq), mac })).join('');
    }
  }

  /** The same events for spreadsheets: with a header line, without their places in the chain. */
  async *csv(filter: AuditFilter): AsyncGenerator<string> {
    let header = CSV_HEADER;
    for await (const { events } of this.#exported(filter)) {
      yield header + eventLines(events);
      header = '';
    }
  }

  /** Pages of an export. Yields at least one page, so that an empty CSV file still gets its header. */
  async *#exported(filter: AuditFilter): AsyncGenerator<{ rows: AuditEvent[]; events: ReadableEvent[] }> {
    const filtered = this.#filtered(filter).orderBy('event.seq', 'ASC').take(EXPORTED_AT_ONCE);
    let after = '0';
    let rows: AuditEvent[];
    do {
      rows = await filtered.clone().andWhere('event.seq > :after', { after }).getMany();
      after = rows.at(-1)?.seq ?? after;
      yield { rows, events: await this.readable(rows) };
    } while (rows.length === EXPORTED_AT_ONCE);
  }

  /** Every action that occurs in the trail, sorted by name. */
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

  /** Decrypts events. A part without a usable key reads `[erased]` or `[unreadable]`. */
  async readable(events: StoredPersonally[]): Promise<ReadableEvent[]> {
    const keys = await this.#keysOf(events);
    const turns = new Turns();
    const read: ReadableEvent[] = [];
    for (const event of events) {
      read.push(readable(event, keys));
      if (turns.isOver) await turns.next();
    }
    return read;
  }

  #keysOf(events: StoredPersonally[]): Promise<PersonalKeys> {
    const subjects = new Set(
      events.flatMap(({ actorId, targetId }) => (actorId === null ? [targetId] : [actorId, targetId])),
    );
    return personalKeys(this.events.manager, this.encryption, subjects);
  }
}

const lineOf = ({ mac, ...event }: Partial<ReadableEvent> & { sequence: number; mac: Buffer | null }): string =>
  `${JSON.stringify({ ...event, mac: mac?.toString('hex') ?? null })}\n`;

function unsealJson<T>(key: Buffer | undefined, sealed: Buffer | null, context: string): T | undefined {
  if (!key || !sealed) return undefined;
  try {
    return JSON.parse(unseal(key, sealed, context).toString()) as T;
  } catch (error) {
    // The person was erased and has a new key since, which does not open older parts.
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
