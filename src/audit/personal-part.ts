import type { EntityManager } from 'typeorm';
import { DecryptionError, type EncryptionService, unseal } from '../encryption/encryption.service.ts';
import type { StoredEvent } from './chain-link.ts';

/** Says that a key was deleted by the application, because somebody asked for it. */
export const ERASURE = 'personal-data.erased';

export const keyContext = (subjectId: string): string => `personal-key:${subjectId}`;
export const actorContext = (eventId: string): string => `actor:${eventId}`;
export const targetContext = (eventId: string): string => `target:${eventId}`;

/** Version, key id, IV and tag: nothing that is sealed is shorter. */
const SEALED_BYTES = 33;
/** Between two questions to the database others get their turn. */
const OPENED_AT_ONCE = 250;

/** Subject → key; `undefined` for one that is there and does not open. */
export type PersonalKeys = ReadonlyMap<string, Buffer | undefined>;

/** What an event says of somebody cannot be read, and no erasure tells why. */
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
    `SELECT subject_id AS "subjectId", wrapped_key AS "wrappedKey" FROM personal_key WHERE subject_id = ANY($1::uuid[])`,
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
 * Opens what genuine events say of people.
 *
 * @returns the parts that the key of their subject does not open and no later erasure accounts for
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
  // The keys first: whoever is erased from here on has the event that says so.
  const keys = await personalKeys(manager, encryption, new Set(sealed.map(({ subject }) => subject)));
  const closed = sealed.filter(({ subject, part, context }) => {
    const key = keys.get(subject);
    return !key || !opened(() => unseal(key, part, context));
  });
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
      const state = !keys.has(subject) ? 'is gone' : keys.get(subject) ? 'is another one now' : 'cannot be opened';
      const detail = `cannot be read: the key of ${subject} ${state}, and there is no ${ERASURE} that tells why`;
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
