import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type FileHandle, open } from 'node:fs/promises';
import { Repository } from 'typeorm';
import { InvalidInputError } from '../platform/common/errors.ts';
import { EncryptionService } from '../platform/encryption/encryption.service.ts';
import { AuditChain, CHAIN_KEY_CONTEXT } from './chain/audit-chain.service.ts';
import type { ChainReport } from './chain/chain-verification.service.ts';
import { AuditEvent } from './chain/audit-event.entity.ts';
import { AuditQueryService, type ReadableEvent } from './audit-query.service.ts';
import {
  chainReplaced,
  ChainVerifier,
  chainTruncated,
  exportSeal,
  ChainStart,
  isSame,
  type Link,
  type LinkedEvent,
  otherEnd,
  storedTime,
} from './chain/chain-link.ts';

/** An event of an export: its decrypted form, and in `stored` what its MAC covers. */
interface ProvenEvent extends ReadableEvent {
  readonly sequence: number;
  readonly mac: string | null;
  readonly stored: { readonly actorPersonal: string | null; readonly targetPersonal: string; readonly changes: string };
}

/** The last line of an export. MACs are hexadecimal. */
interface Tail {
  readonly head: { readonly sequence: number; readonly mac: string; readonly at: string | null };
  /** The place in the chain that the first event continues from. */
  readonly before: { readonly sequence: number; readonly mac: string };
  readonly genesis: { readonly sequence: number; readonly events: number; readonly mac: string };
  readonly events: number;
  /** The key of the chain, encrypted under the key encryption key, as base64. */
  readonly key: string;
  /** MAC over the lines of all events and the other fields of this line. */
  readonly seal: string;
}

/** Events in a chunk of an export. */
const WRITTEN_AT_ONCE = 100;
/** Bytes at the end of a file that are searched for the last line of the export. Other lines may follow that line. */
const TAIL_BYTES = 65_536;

/** Exports the trail as a file that can be verified with the key encryption key alone, without the database. */
@Injectable()
export class AuditProof {
  constructor(
    @InjectRepository(AuditEvent) private readonly events: Repository<AuditEvent>,
    private readonly chain: AuditChain,
    private readonly audit: AuditQueryService,
  ) {}

  /**
   * The lines of an export: every event as JSON, oldest first, then the {@link Tail}. Reads page by page while writing.
   *
   * @param range the part of the chain from the first event at or after `from` to the last event before `to`
   */
  async *lines({ from, to }: { from?: Date; to?: Date } = {}): AsyncGenerator<string> {
    await this.chain.begun();
    const { head, genesis, wrappedKey, key } = await this.chain.anchor();
    // Index lookups find both ends, however long the trail is.
    const [range] = await this.events.query<{ first: string | null; last: string | null }[]>(
      `SELECT CASE WHEN $1::timestamptz IS NULL THEN (SELECT seq FROM audit_event ORDER BY seq LIMIT 1)
           ELSE (SELECT seq FROM audit_event WHERE at >= $1 ORDER BY at, seq LIMIT 1) END AS first,
         CASE WHEN $2::timestamptz IS NULL THEN $3::bigint
           ELSE (SELECT seq FROM audit_event WHERE at < $2 ORDER BY at DESC, seq DESC LIMIT 1) END AS last`,
      [from ?? null, to ?? null, head.sequence],
    );
    const first = Number(range?.first ?? head.sequence + 1);
    const last = Math.min(Number(range?.last ?? 0), head.sequence);
    const seal = exportSeal(key);
    let count = 0;
    let page: LinkedEvent[] = [];
    const written = async (): Promise<string> => {
      const readable = await this.audit.readable(page.map(eventOf));
      const text = page.map((event, i) => lineOf(event, readable[i])).join('');
      count += page.length;
      page = [];
      seal.update(text);
      return text;
    };
    for await (const event of this.chain.events(first - 1, last)) {
      page.push(event);
      if (page.length === WRITTEN_AT_ONCE) yield await written();
    }
    if (page.length > 0) yield await written();
    const before = await this.#before(first, genesis);
    const unsealed: Omit<Tail, 'seal'> = {
      head: { sequence: head.sequence, mac: head.mac.toString('hex'), at: head.at?.toISOString() ?? null },
      before: { sequence: before.sequence, mac: before.mac.toString('hex') },
      genesis: { ...genesis, mac: genesis.mac.toString('hex') },
      events: count,
      key: wrappedKey.toString('base64'),
    };
    const tail: Tail = { ...unsealed, seal: seal.update(JSON.stringify(unsealed)).digest('hex') };
    yield `${JSON.stringify(tail)}\n`;
  }

  async #before(first: number, genesis: Link): Promise<Link> {
    if (first <= genesis.sequence + 1) return genesis;
    const row = await this.events.findOneBy({ seq: String(first - 1) });
    return { sequence: first - 1, mac: row?.mac ?? Buffer.alloc(32) };
  }
}

/**
 * Verifies a file of {@link AuditProof.lines}, in constant memory and without a database. Lines that are not events,
 * such as the output of a shell or npm, are reported as `foreign` and are not part of the proof.
 *
 * @param kept a head that was kept elsewhere: the file must agree with it
 * @throws DecryptionError when the key of the file's chain cannot be decrypted; InvalidInputError when the file cannot
 *   be read, or when it is a part of the trail that says nothing about the kept head
 */
export async function verifyExport(file: string, encryption: EncryptionService, kept?: Link): Promise<ChainReport> {
  const handle = await open(file).catch((error: unknown) => {
    throw new InvalidInputError([], `${file} cannot be read: ${(error as Error).message}`);
  });
  try {
    const tail = await readTail(handle);
    if (!tail) {
      const detail = 'cannot be verified: the last line of the file, which holds the head, is missing';
      const finding = { kind: 'truncated', sequence: 0, detail } as const;
      return { events: 0, head: undefined, kinds: ['truncated'], findings: [finding] };
    }
    const key = encryption.decrypt(Buffer.from(tail.key, 'base64'), CHAIN_KEY_CONTEXT);
    const head = { ...linkOf(tail.head), at: tail.head.at === null ? null : new Date(tail.head.at) };
    const before = linkOf(tail.before);
    const verifier = new ChainVerifier(key, before);
    const genesis = new ChainStart(key);
    const seal = exportSeal(key);
    let last: Link = before;
    let earliest: number | undefined;
    let count = 0;
    let lineNumber = 0;
    let hasEnded = false;
    // The seal of the file covers these three places.
    const places = [linkOf(tail.genesis), before, linkOf(tail.head)];
    for await (const line of linesOf(handle)) {
      lineNumber++;
      if (!hasEnded && line.includes('"seal":') && tailOf(line)) {
        const { seal: claimed, ...unsealed } = tail;
        if (!isSame(seal.update(JSON.stringify(unsealed)).digest(), Buffer.from(claimed, 'hex'))) {
          verifier.found('edited', earliest ?? 0, 'or a later line of the file was changed');
        }
        hasEnded = true;
        continue;
      }
      const event = hasEnded ? undefined : storedOf(line);
      if (!event) {
        verifier.found('foreign', lineNumber, hasEnded ? 'follows the last line of the export' : 'is not an event');
        continue;
      }
      seal.update(`${line}\n`);
      count++;
      earliest ??= event.sequence;
      if (event.sequence <= tail.genesis.sequence) genesis.add(event);
      else {
        verifier.add(event);
        last = { sequence: event.sequence, mac: event.mac ?? last.mac };
        if (last.sequence === kept?.sequence) places.push(last);
      }
    }
    compareCounts(tail, count, genesis, verifier);
    if (kept) compare(kept, places, tail, verifier);
    const findings = verifier.end(last);
    return { events: count, head, kinds: [...verifier.kinds].sort(), findings };
  } finally {
    await handle.close();
  }
}

/** Compares the events of the file with what its last line says about them. */
function compareCounts(tail: Tail, count: number, genesis: ChainStart, verifier: ChainVerifier): void {
  const isWhole = genesis.events === tail.genesis.events;
  if (isWhole && genesis.events > 0 && !isSame(genesis.mac(), Buffer.from(tail.genesis.mac, 'hex'))) {
    verifier.found('edited', 1, 'or another event from before the chain was changed');
  }
  if (count !== tail.events) {
    verifier.found(
      count < tail.events ? 'missing' : 'inserted',
      0,
      `is not the start of an intact file: it has ${String(count)} events, and its last line says ` +
        String(tail.events),
    );
  }
}

async function readTail(handle: FileHandle): Promise<Tail | undefined> {
  const { size } = await handle.stat();
  const end = Buffer.alloc(Math.min(size, TAIL_BYTES));
  await handle.read(end, 0, end.length, size - end.length);
  return end
    .toString()
    .split('\n')
    .map(tailOf)
    .findLast((found) => found !== undefined);
}

/** @throws InvalidInputError */
function compare(kept: Link, places: readonly Link[], { genesis, head }: Tail, verifier: ChainVerifier): void {
  if (kept.sequence < genesis.sequence) verifier.found(...chainReplaced(kept));
  else if (kept.sequence > head.sequence) verifier.found(...chainTruncated(kept, linkOf(head)));
  else {
    const there = places.filter(({ sequence }) => sequence === kept.sequence);
    if (there.some(({ mac }) => !isSame(mac, kept.mac))) verifier.found(...otherEnd(kept.sequence));
    else if (there.length === 0 && verifier.kinds.size === 0) {
      const detail =
        `The file does not contain event ${String(kept.sequence)}, which the saved head names. ` +
        'Verify this file without --head, or verify one that contains the event.';
      throw new InvalidInputError([], detail);
    }
  }
}

/** Splits at \n only: Node's readline also splits at U+2028. A line holds no \r unless an editor added one. */
async function* linesOf(handle: FileHandle): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of handle.createReadStream({ encoding: 'utf8', start: 0, autoClose: false })) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield line.replace(/\r$/, '');
  }
  if (rest !== '') yield rest;
}

const linkOf = ({ sequence, mac }: { sequence: number; mac: string }): Link => ({
  sequence,
  mac: Buffer.from(mac, 'hex'),
});

function tailOf(line: string): Tail | undefined {
  try {
    const tail = JSON.parse(line) as Partial<Tail>;
    return tail.seal !== undefined && tail.head && tail.before && tail.genesis && tail.key !== undefined
      ? (tail as Tail)
      : undefined;
  } catch {
    return undefined;
  }
}

const eventOf = (event: LinkedEvent) => ({
  ...event,
  at: new Date(`${event.at.slice(0, 23)}Z`),
  changes: JSON.parse(event.changes) as Record<string, [unknown, unknown]>,
});

function lineOf({ sequence, mac, actorPersonal, targetPersonal, changes }: LinkedEvent, event?: ReadableEvent): string {
  const stored = {
    actorPersonal: actorPersonal?.toString('base64') ?? null,
    targetPersonal: targetPersonal.toString('base64'),
    changes,
  };
  return `${JSON.stringify({ ...event, sequence, mac: mac?.toString('hex') ?? null, stored })}\n`;
}

function storedOf(line: string): LinkedEvent | undefined {
  try {
    const { id, at, actor, action, target, requestId, sequence, mac, stored } = JSON.parse(line) as Omit<
      ProvenEvent,
      'at'
    > & { at: string };
    return {
      sequence,
      id,
      at: storedTime(new Date(at)),
      actorType: actor.type,
      actorId: actor.id,
      actorPersonal: stored.actorPersonal === null ? null : Buffer.from(stored.actorPersonal, 'base64'),
      action,
      targetType: target.type,
      targetId: target.id,
      targetPersonal: Buffer.from(stored.targetPersonal, 'base64'),
      changes: stored.changes,
      requestId,
      mac: mac === null ? null : Buffer.from(mac, 'hex'),
    };
  } catch {
    return undefined;
  }
}
