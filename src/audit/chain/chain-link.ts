import { createHmac, timingSafeEqual } from 'node:crypto';

/** An event as stored, with the fields that its MAC covers. */
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
  /** JSON as PostgreSQL prints a jsonb. */
  readonly changes: string;
  readonly requestId: string | null;
}

/** A stored event and its MAC. Events older than the chain have no MAC. */
export interface LinkedEvent extends StoredEvent {
  readonly mac: Buffer | null;
}

/** A place in the chain, and the MAC there. */
export interface Link {
  readonly sequence: number;
  readonly mac: Buffer;
}

export type FindingKind =
  'edited' | 'missing' | 'inserted' | 'reordered' | 'truncated' | 'replaced' | 'unreadable' | 'foreign';

/** A difference from what the application wrote. */
export interface Finding {
  readonly kind: FindingKind;
  /** The first place where the difference shows; for `foreign`, the line of the file. */
  readonly sequence: number;
  readonly detail: string;
}

const EVENT = 'latchkey audit event 1\0';
const GENESIS = 'latchkey audit genesis 1\0';
const EXPORT = 'latchkey audit export 1\0';
/** Stands in place of the length of an absent field. */
const ABSENT = 0xffff_ffff;
/** Events with a wrong MAC that are compared at once, to tell moved from edited. The work grows with the cube. */
const MAX_SUSPECTS = 32;
/** Findings in a report. Further ones are dropped. */
export const MAX_FINDINGS = 100;

/** How PostgreSQL's `to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US BC')` writes a time. */
export const storedTime = (at: Date): string => `${at.toISOString().slice(0, -1)}000 AD`;

/** Prefixes every field with its length, so that no two events have the same encoding. */
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
 * The MAC of an event: HMAC-SHA-256 over the MAC of the event before it and the event's stored form.
 *
 * @param sequence the place to compute the MAC for, by default the event's own
 */
export function macOf(key: Buffer, previous: Buffer, event: StoredEvent, sequence = event.sequence): Buffer {
  return createHmac('sha256', key).update(EVENT).update(previous).update(canonical(event, sequence)).digest();
}

/** Computes the first MAC of the chain, which covers every older event in order. */
export class ChainStart {
  readonly #hmac: ReturnType<typeof createHmac>;
  events = 0;
  /** The sequence of the last event added. */
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

/** Begins the MAC over a whole export, which also covers the parts that the file shows decrypted. */
export const exportSeal = (key: Buffer): ReturnType<typeof createHmac> => createHmac('sha256', key).update(EXPORT);

export const isSame = (one: Buffer, other: Buffer): boolean =>
  one.length === other.length && timingSafeEqual(one, other);

type FindingArguments = [kind: FindingKind, sequence: number, detail: string];

/** A kept head from before the start of the chain belongs to an earlier chain, which this one has replaced. */
export const chainReplaced = (kept: Link): FindingArguments => [
  'replaced',
  kept.sequence,
  'is before the start of the chain: the chain was replaced after that head was saved',
];

export const chainTruncated = (kept: Link, last: Link): FindingArguments => [
  'truncated',
  last.sequence + 1,
  `is missing: the saved head is ${String(kept.sequence)}`,
];

export const otherEnd = (sequence: number): FindingArguments => [
  'truncated',
  sequence,
  'is not the event that the saved head names: the end of the chain was replaced',
];

interface Suspect {
  readonly event: LinkedEvent & { mac: Buffer };
  readonly previous: Buffer;
  /** Whether the next event continues from this event's MAC, which proves that the MAC is genuine. */
  isContinued: boolean;
}

/** Verifies a chain event by event, in constant memory, and collects the findings. */
export class ChainVerifier {
  readonly kinds = new Set<FindingKind>();
  readonly #findings: Finding[] = [];
  #suspects: Suspect[] = [];
  #last: Link;
  /** The event before the next one is missing, so the next event's MAC cannot be computed. */
  #isAfterGap = false;
  /** The number of linked events so far. */
  events = 0;

  /**
   * @param start where the chain begins, or the part of it to verify
   * @param expected a place that was kept elsewhere: the chain must pass through it
   */
  constructor(
    private readonly key: Buffer,
    start: Link,
    private readonly expected?: Link,
  ) {
    this.#last = start;
    if (expected && expected.sequence < start.sequence) this.found(...chainReplaced(expected));
    this.#passes(start);
  }

  /**
   * Verifies the next event. Events must come in the order of their sequence.
   *
   * @returns whether the MAC fits the event, its place and the event before it
   */
  add(event: LinkedEvent): boolean {
    const { sequence, mac } = event;
    const due = this.#last.sequence + 1;
    if (mac === null || sequence < due) {
      this.found('inserted', sequence, mac === null ? 'has no MAC' : 'has the place of another event');
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
   * Compares the last event with the head.
   *
   * @returns the first {@link MAX_FINDINGS} findings, sorted by place
   */
  end(head: Link): readonly Finding[] {
    this.#judge();
    if (this.#last.sequence < head.sequence) {
      const first = this.#last.sequence + 1;
      this.found('truncated', first, `and all up to ${String(head.sequence)}, the head, are missing`);
    } else if (this.#last.sequence > head.sequence) {
      this.found('inserted', head.sequence + 1, 'is after the head');
    } else if (this.kinds.size === 0 && !isSame(this.#last.mac, head.mac)) {
      // If events were moved, the last MAC differs too, but then there is a finding already.
      this.found('edited', head.sequence, 'is not the event that the head names');
    }
    if (this.expected && this.expected.sequence > this.#last.sequence) {
      this.found(...chainTruncated(this.expected, this.#last));
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

  /** An event is genuine if its MAC fits some place after some event among the suspects, even if it was moved since. */
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
      // This event is genuine. The event before it is wrong and has a finding of its own.
      if (truePlace === sequence) continue;
      if (truePlace !== undefined) this.found('reordered', sequence, `was written as event ${String(truePlace)}`);
      else if (!isContinued && truePlaces.includes(sequence)) {
        this.found('inserted', sequence, 'was not written by Latchkey and has the place of another event');
      } else this.found('edited', sequence, 'was changed after it was written');
    }
  }
}
