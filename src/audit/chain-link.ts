import { createHmac, timingSafeEqual } from 'node:crypto';

/** An event as the table has it: what a MAC covers. */
export interface StoredEvent {
  readonly sequence: number;
  readonly id: string;
  /** UTC to the microsecond, as {@link storedTime} writes it. */
  readonly at: string;
  readonly actorType: string;
  readonly actorId: string | null;
  readonly actorPersonal: Buffer | null;
  readonly action: string;
  readonly targetType: string;
  readonly targetId: string;
  readonly targetPersonal: Buffer;
  /** As PostgreSQL writes a jsonb. */
  readonly changes: string;
  readonly requestId: string | null;
}

/** With its MAC, which events older than the chain do not have. */
export interface LinkedEvent extends StoredEvent {
  readonly mac: Buffer | null;
}

/** A place in the chain. */
export interface Link {
  readonly sequence: number;
  readonly mac: Buffer;
}

export type FindingKind = 'edited' | 'missing' | 'inserted' | 'reordered' | 'truncated' | 'replaced' | 'unreadable';

/** Something that is not as the application wrote it. */
export interface Finding {
  readonly kind: FindingKind;
  /** Where it shows first. */
  readonly sequence: number;
  readonly detail: string;
}

const EVENT = 'latchkey audit event 1\0';
const GENESIS = 'latchkey audit genesis 1\0';
const EXPORT = 'latchkey audit export 1\0';
const ABSENT = 0xffff_ffff;
/** Events whose MAC does not fit are looked at together, to tell what was moved from what was edited. */
const MAX_SUSPECTS = 32;
/** Of very many the first are told. */
export const MAX_FINDINGS = 100;

/** How PostgreSQL's `to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US BC')` writes a moment. */
export const storedTime = (at: Date): string => `${at.toISOString().slice(0, -1)}000 AD`;

/** Every field with its length before it: no two events have the same form. */
function canonical(event: StoredEvent, sequence: number): Buffer {
  const fields = [
    String(sequence),
    event.id,
    event.at,
    event.actorType,
    event.actorId,
    event.actorPersonal,
    event.action,
    event.targetType,
    event.targetId,
    event.targetPersonal,
    event.changes,
    event.requestId,
  ];
  const parts: Buffer[] = [];
  for (const field of fields) {
    const length = Buffer.alloc(4);
    const bytes = typeof field === 'string' ? Buffer.from(field) : field;
    length.writeUInt32BE(bytes?.length ?? ABSENT);
    parts.push(length, ...(bytes ? [bytes] : []));
  }
  return Buffer.concat(parts);
}

/**
 * The MAC of an event: HMAC-SHA-256 over that of the event before and its own stored form.
 *
 * @param sequence the place it claims, its own unless said otherwise
 */
export function macOf(key: Buffer, previous: Buffer, event: StoredEvent, sequence = event.sequence): Buffer {
  return createHmac('sha256', key).update(EVENT).update(previous).update(canonical(event, sequence)).digest();
}

/** The first MAC of the chain, over every event from before it, in order. */
export class Genesis {
  readonly #hmac: ReturnType<typeof createHmac>;
  events = 0;
  /** Of the last event. */
  sequence = 0;

  constructor(key: Buffer) {
    this.#hmac = createHmac('sha256', key).update(GENESIS);
  }

  add(event: StoredEvent): void {
    this.#hmac.update(canonical(event, event.sequence));
    this.events++;
    this.sequence = event.sequence;
  }

  mac(): Buffer {
    return this.#hmac.update(String(this.events)).digest();
  }
}

/** Seals a file as a whole, so that what it says in clear is proven too. */
export const exportSeal = (key: Buffer): ReturnType<typeof createHmac> => createHmac('sha256', key).update(EXPORT);

export const isSame = (one: Buffer, other: Buffer): boolean =>
  one.length === other.length && timingSafeEqual(one, other);

type Said = [kind: FindingKind, sequence: number, detail: string];

/** A head is never older than its chain: one that is comes from another, which this one was put in place of. */
export const begunAnew = (kept: Link): Said => [
  'replaced',
  kept.sequence,
  'is before the start of the chain: it was begun anew after that head was kept',
];

export const cutOff = (kept: Link, last: Link): Said => [
  'truncated',
  last.sequence + 1,
  `is missing: the head that was kept is ${String(kept.sequence)}`,
];

export const otherEnd = (sequence: number): Said => [
  'truncated',
  sequence,
  'is not the event that the kept head names: the end was replaced',
];

interface Suspect {
  readonly event: LinkedEvent & { mac: Buffer };
  readonly previous: Buffer;
  /** Whether the event after it continues from its MAC: then the MAC is a genuine one. */
  isContinued: boolean;
}

/** Follows a chain event by event, in constant memory, and says everything that does not fit. */
export class ChainVerifier {
  readonly kinds = new Set<FindingKind>();
  readonly #findings: Finding[] = [];
  #suspects: Suspect[] = [];
  #last: Link;
  /** What came before the next event is not there: its MAC cannot be computed. */
  #isAfterGap = false;
  /** Of the events that are linked. */
  events = 0;

  /**
   * @param start where the chain begins, or the part of it that is looked at
   * @param expected a place that was kept elsewhere: the chain must pass through it
   */
  constructor(
    private readonly key: Buffer,
    start: Link,
    private readonly expected?: Link,
  ) {
    this.#last = start;
    if (expected && expected.sequence < start.sequence) this.found(...begunAnew(expected));
    this.#passes(start);
  }

  /**
   * Takes the next event, in the order of their sequence.
   *
   * @returns whether it is what was written at this place after the event before it
   */
  add(event: LinkedEvent): boolean {
    const { sequence, mac } = event;
    const due = this.#last.sequence + 1;
    if (mac === null || sequence < due) {
      this.found('inserted', sequence, mac === null ? 'has no link to the chain' : 'has the place of another event');
      return false;
    }
    this.events++;
    if (sequence > due) {
      const count = sequence - due;
      this.found('missing', due, count === 1 ? 'is missing' : `and the ${String(count - 1)} after it are missing`);
      this.#isAfterGap = true;
    }
    const previous = this.#last.mac;
    const fits = isSame(macOf(this.key, previous, event), mac);
    if (fits) {
      const before = this.#suspects.at(-1);
      if (before?.event.mac === previous) before.isContinued = true;
    } else if (!this.#isAfterGap) {
      this.#suspects.push({ event: { ...event, mac }, previous, isContinued: false });
      if (this.#suspects.length === MAX_SUSPECTS) this.#judge();
    }
    this.#isAfterGap = false;
    this.#last = { sequence, mac };
    this.#passes(this.#last);
    return fits;
  }

  /**
   * Ends with what the head says.
   *
   * @returns what does not fit, by place; of very many the first
   */
  end(head: Link): readonly Finding[] {
    this.#judge();
    if (this.#last.sequence < head.sequence) {
      const first = this.#last.sequence + 1;
      this.found('truncated', first, `and all up to ${String(head.sequence)}, where the head is, are missing`);
    } else if (this.#last.sequence > head.sequence) {
      this.found('inserted', head.sequence + 1, 'comes after the head');
    } else if (this.kinds.size === 0 && !isSame(this.#last.mac, head.mac)) {
      // Where something was moved, the last event is not the last that was written: that has been said.
      this.found('edited', head.sequence, 'is not the event that the head names');
    }
    if (this.expected && this.expected.sequence > this.#last.sequence) {
      this.found(...cutOff(this.expected, this.#last));
    }
    return this.#findings.sort((one, other) => one.sequence - other.sequence);
  }

  found(kind: FindingKind, sequence: number, detail: string): void {
    this.kinds.add(kind);
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push({ kind, sequence, detail });
  }

  #passes({ sequence, mac }: Link): void {
    if (this.expected?.sequence !== sequence || isSame(this.expected.mac, mac)) return;
    this.found(...otherEnd(sequence));
  }

  /** An event is genuine where its MAC fits some predecessor and some place, even if that is not where it stands. */
  #judge(): void {
    const suspects = this.#suspects;
    this.#suspects = [];
    const places = new Set(suspects.flatMap(({ event: { sequence } }) => [sequence, sequence - 1, sequence + 1]));
    const predecessors = suspects.flatMap(({ event, previous }) => [previous, event.mac]);
    const truePlaces = suspects.map(({ event }) =>
      [...places].find((place) =>
        predecessors.some((previous) => isSame(macOf(this.key, previous, event, place), event.mac)),
      ),
    );
    for (const [i, { event, isContinued }] of suspects.entries()) {
      const { sequence } = event;
      const truePlace = truePlaces[i];
      // Only what came before it is wrong, and that has been said.
      if (truePlace === sequence) continue;
      if (truePlace !== undefined) this.found('reordered', sequence, `was written as ${String(truePlace)}`);
      else if (!isContinued && truePlaces.includes(sequence)) {
        this.found('inserted', sequence, 'was not written by Latchkey and has the place of another event');
      } else this.found('edited', sequence, 'is not as it was written');
    }
  }
}
