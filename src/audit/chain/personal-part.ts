import type { EntityManager } from 'typeorm';
import { Turns } from '../../platform/common/turns.ts';
import { DecryptionError, type EncryptionService, unseal } from '../../platform/encryption/encryption.service.ts';
import type { AuditEvent } from './audit-event.entity.ts';
import type { StoredEvent } from './chain-link.ts';

/** The action of the event that records an erasure: the application deleted a key on request. */
export const ERASURE = 'personal-data.erased';

export const keyContext = (subjectId: string): string => `personal-key:${subjectId}`;
export const actorContext = (eventId: string): string => `actor:${eventId}`;
export const targetContext = (eventId: string): string => `target:${eventId}`;

/** Stands for a part that is unreadable since its key was deleted. */
export const ERASED = '[erased]';

/** What an event says about its actor, encrypted under the actor's key. */
export interface ActorPersonal {
  name: string;
  address: string | null;
}

/** What an event says about its target, encrypted under the target's key. */
export interface TargetPersonal {
  name: string;
  reason: string | null;
  changes: AuditEvent['changes'];
  /** The address that the request came from, if the actor has no id and so no key. */
  address?: string;
}

/** Bytes of version, key id, IV and tag. A sealed part has at least this length. */
const SEALED_BYTES = 33;
/** Events whose keys are read with one query. Other requests run between two queries. */
const OPENED_AT_ONCE = 250;

/** Subject → key; `undefined` for a key that exists but cannot be decrypted. */
export type PersonalKeys = ReadonlyMap<string, Buffer | undefined>;

/** A personal part that cannot be decrypted although no erasure explains it. */
export interface UnreadablePart {
  readonly sequence: number;
  readonly subject: string;
  readonly detail: string;
}

/** The keys of those subjects that have one. */
export async function personalKeys(
  manager: EntityManager,
  encryption: EncryptionService,
  subjects: Iterable<string>,
): Promise<PersonalKeys> {
  const rows = await manager.query<{ subjectId: string; wrappedKey: Buffer }[]>(
    'SELECT subject_id AS "subjectId", wrapped_key AS "wrappedKey" FROM personal_key WHERE subject_id = ' +
      'ANY($1::uuid[])',
    [[...subjects]],
  );
  return new Map(
    rows.map(({ subjectId, wrappedKey }) => [
      subjectId,
      opened(() => encryption.decrypt(wrappedKey, keyContext(subjectId))),
    ]),
  );
}

/**
 * Decrypts the personal parts of genuine events.
 *
 * @returns the parts that their subject's key does not open and that no later erasure explains
 */
export async function* unreadableParts(
  manager: EntityManager,
  encryption: EncryptionService,
  events: readonly StoredEvent[],
): AsyncGenerator<UnreadablePart> {
  for (let i = 0; i < events.length; i += OPENED_AT_ONCE) {
    yield* await unopened(manager, encryption, events.slice(i, i + OPENED_AT_ONCE));
  }
}

async function unopened(
  manager: EntityManager,
  encryption: EncryptionService,
  events: readonly StoredEvent[],
): Promise<UnreadablePart[]> {
  const sealed = events
    .flatMap(({ sequence, id, actorId, actorPersonal, targetId, targetPersonal }) => [
      { sequence, subject: actorId, part: actorPersonal, context: actorContext(id) },
      { sequence, subject: targetId, part: targetPersonal, context: targetContext(id) },
    ])
    .flatMap(({ subject, part, ...rest }) =>
      subject !== null && part !== null && part.length >= SEALED_BYTES ? [{ subject, part, ...rest }] : [],
    );
  // Keys are read before erasures, so that the erasure of every key that is gone is already recorded.
  const keys = await personalKeys(manager, encryption, new Set(sealed.map(({ subject }) => subject)));
  const closed: typeof sealed = [];
  const turns = new Turns();
  for (const each of sealed) {
    const key = keys.get(each.subject);
    if (!key || !opened(() => unseal(key, each.part, each.context))) closed.push(each);
    if (turns.isOver) await turns.next();
  }
  if (closed.length === 0) return [];
  const erasures = await manager.query<{ subject: string; sequence: string }[]>(
    `SELECT target_id AS subject, max(seq) AS sequence FROM audit_event
     WHERE action = $1 AND target_id = ANY($2::uuid[]) GROUP BY target_id`,
    [ERASURE, [...new Set(closed.map(({ subject }) => subject))]],
  );
  const erasedAt = new Map(erasures.map(({ subject, sequence }) => [subject, Number(sequence)]));
  return closed
    .filter(({ subject, sequence }) => sequence >= (erasedAt.get(subject) ?? -Infinity))
    .map(({ subject, sequence }) => {
      const state = !keys.has(subject) ? 'was deleted' : keys.get(subject) ? 'was replaced' : 'cannot be decrypted';
      const detail = `cannot be read: the key of ${subject} ${state}, and no ${ERASURE} event explains it`;
      return { sequence, subject, detail };
    });
}

function opened(open: () => Buffer): Buffer | undefined {
  try {
    return open();
  } catch (error) {
    if (error instanceof DecryptionError) return undefined;
    throw error;
  }
}
