import type { EntityManager } from 'typeorm';
import type { LinkedEvent } from './chain-link.ts';

/** The events of one query: all whose sequence is greater than `after` and at most `upTo`. */
export interface EventPage {
  readonly events: readonly LinkedEvent[];
  readonly after: string;
  readonly upTo: string;
}

/** A sequence below that of every event: the smallest bigint. */
export const BEFORE_ALL = '-9223372036854775808';
/** Events per query. Parsing one result blocks the event loop. */
const READ_AT_ONCE = 200;

/** No upper bound: with two bounds, a planner without statistics reads and sorts the whole rest for every page. */
const EVENTS = `
  SELECT seq AS sequence, id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US BC') AS at,
    actor_type AS "actorType", actor_id AS "actorId", actor_personal AS "actorPersonal", action,
    target_type AS "targetType", target_id AS "targetId", target_personal AS "targetPersonal", changes::text AS changes,
    request_id AS "requestId", mac
  FROM audit_event WHERE seq > $1 ORDER BY seq LIMIT ${String(READ_AT_ONCE)}`;

/**
 * Reads events in the order of the chain.
 *
 * @param after the sequence before the first event
 * @param upTo the sequence of the last event
 */
export async function* eventPages(manager: EntityManager, after: string, upTo: string): AsyncGenerator<EventPage> {
  for (;;) {
    const rows = await manager.query<(Omit<LinkedEvent, 'sequence'> & { sequence: string })[]>(EVENTS, [after]);
    const all = rows.map((row) => ({ ...row, sequence: Number(row.sequence) }));
    const events = all.filter(({ sequence }) => sequence <= Number(upTo));
    const isLast = rows.length < READ_AT_ONCE || events.length < rows.length;
    const last = rows.at(-1)?.sequence ?? after;
    yield { events, after, upTo: isLast ? upTo : last };
    if (isLast) return;
    after = last;
  }
}
