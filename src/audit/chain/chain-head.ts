import type { Link } from './chain-link.ts';

/** Where the chain ends. */
export interface ChainHead extends Link {
  /** When the last event was written; `null` while there is none since the chain began. */
  readonly at: Date | null;
}

/** The row of the chain, once the chain has begun. */
export interface HeadRow {
  wrappedKey: Buffer;
  genesisSequence: string;
  genesisEvents: string;
  genesisMac: Buffer;
  sequence: string;
  mac: Buffer;
  at: Date | null;
  verified: Buffer | null;
}

/** The row as stored: all columns are `null` until the chain has begun. */
export type StoredHead = { [K in keyof HeadRow]: HeadRow[K] | null };

export const HEAD = `
  SELECT wrapped_key AS "wrappedKey", genesis_sequence AS "genesisSequence", genesis_events AS "genesisEvents",
    genesis_mac AS "genesisMac", sequence, mac, at, verified
  FROM audit_chain WHERE id`;

/**
 * Locks the head, as the transaction's last lock. The timeout frees the head if this instance freezes, and ends with
 * the transaction. `changes` come back as PostgreSQL prints a jsonb, which is the form that the MAC covers.
 */
export const LOCK_HEAD = `
  SELECT wrapped_key AS "wrappedKey", sequence, mac,
    set_config('idle_in_transaction_session_timeout', '2s', true),
    ARRAY(SELECT text::jsonb::text FROM unnest($1::text[]) WITH ORDINALITY AS change (text, n) ORDER BY n) AS changes
  FROM audit_chain WHERE id FOR UPDATE`;

export const APPEND = `
  WITH moved AS (
    UPDATE audit_chain SET sequence = $2, mac = $3, at = $4 WHERE id AND sequence = $1 RETURNING id
  )
  INSERT INTO audit_event (seq, id, at, actor_type, actor_id, actor_personal, action, target_type, target_id,
    target_personal, changes, request_id, mac)
  OVERRIDING SYSTEM VALUE
  SELECT event.sequence, event.id, $4, event."actorType", event."actorId", decode(event."actorPersonal", 'hex'),
    event.action, event."targetType", event."targetId", decode(event."targetPersonal", 'hex'), event.changes::jsonb,
    event."requestId", decode(event.mac, 'hex')
  FROM moved, json_to_recordset($5::json) AS event (sequence bigint, id uuid, "actorType" text, "actorId" uuid,
    "actorPersonal" text, action text, "targetType" text, "targetId" uuid, "targetPersonal" text, changes text,
    "requestId" text, mac text)
  RETURNING seq`;

export const isWhole = (row: StoredHead): row is HeadRow =>
  [row.wrappedKey, row.genesisSequence, row.genesisEvents, row.genesisMac, row.sequence, row.mac].every(
    (value) => value !== null,
  );

export const linkOf = ({ sequence, mac, at }: HeadRow): ChainHead => ({ sequence: Number(sequence), mac, at });
