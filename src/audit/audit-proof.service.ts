import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type FileHandle, open } from 'node:fs/promises';
import { Repository } from 'typeorm';
import { InvalidInputError } from '../common/errors.ts';
import { EncryptionService } from '../encryption/encryption.service.ts';
import { AuditChain, CHAIN_KEY_CONTEXT, type ChainReport } from './audit-chain.service.ts';
import { AuditEvent } from './audit-event.entity.ts';
import { AuditService, type ReadableEvent } from './audit.service.ts';
import {
  begunAnew,
  ChainVerifier,
  cutOff,
  exportSeal,
  Genesis,
  isSame,
  type Link,
  type LinkedEvent,
  otherEnd,
  storedTime,
} from './chain-link.ts';

/** An event of the file: what it says, and what its MAC covers. */
interface ProvenEvent extends ReadableEvent {
  readonly sequence: number;
  readonly mac: string | null;
  readonly stored: { readonly actorPersonal: string | null; readonly targetPersonal: string; readonly changes: string };
}

/** The last line of the file. MACs in hexadecimal. */
interface Tail {
  readonly head: { readonly sequence: number; readonly mac: string; readonly at: string | null };
  /** What the first event continues from. */
  readonly before: { readonly sequence: number; readonly mac: string };
  readonly genesis: { readonly sequence: number; readonly events: number; readonly mac: string };
  readonly events: number;
  /** The key of the chain, encrypted under the key encryption key, as base64. */
  readonly key: string;
  /** Over every byte before it. */
  readonly seal: string;
}

const WRITTEN_AT_ONCE = 500;
/** The last line is far shorter. */
const TAIL_BYTES = 4_096;

/** The trail as a file that proves itself: whoever has the key encryption key can verify it without the database. */
@Injectable()
export class AuditProof {
  constructor(
    @InjectRepository(AuditEvent) private readonly events: Repository<AuditEvent>,
    private readonly chain: AuditChain,
    private readonly audit: AuditService,
  ) {}

  /**
   * Every event, oldest first, a JSON text a line, and a last line with the head; read as it is written.
   *
   * @param range whole events of the chain from the first that is not before `from` to the last before `to`
   */
  async *lines({ from, to }: { from?: Date; to?: Date } = {}): AsyncGenerator<string> {
    await this.chain.begun();
    const { head, genesis, wrappedKey, key } = await this.chain.anchor();
    // By the indices, however long the trail is.
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
 * Verifies a file of {@link AuditProof.lines}, in constant memory and without a database.
 *
 * @param kept a head that was kept elsewhere: the file must agree with it
 * @throws DecryptionError when the key of its chain cannot be read; InvalidInputError when the file, being a part of the
 *   trail, says nothing about the kept head
 */
export async function verifyExport(file: string, encryption: EncryptionService, kept?: Link): Promise<ChainReport> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const end = Buffer.alloc(Math.min(size, TAIL_BYTES));
    await handle.read(end, 0, end.length, size - end.length);
    const tail = tailOf(end.toString().trimEnd().split('\n').at(-1) ?? '');
    if (!tail) {
      const finding = {
        kind: 'truncated',
        sequence: 0,
        detail: 'is the last: the file ends without its head',
      } as const;
      return { events: 0, head: undefined, kinds: ['truncated'], findings: [finding] };
    }
    const key = encryption.decrypt(Buffer.from(tail.key, 'base64'), CHAIN_KEY_CONTEXT);
    const head = { ...linkOf(tail.head), at: tail.head.at === null ? null : new Date(tail.head.at) };
    const before = linkOf(tail.before);
    const verifier = new ChainVerifier(key, before);
    const genesis = new Genesis(key);
    const seal = exportSeal(key);
    let last: Link = before;
    let earliest: number | undefined;
    let count = 0;
    // These three are sealed with the file.
    const places = [linkOf(tail.genesis), before, linkOf(tail.head)];
    for await (const line of linesOf(handle)) {
      if (line.includes('"seal":') && tailOf(line)) {
        const { seal: claimed, ...unsealed } = tail;
        if (!isSame(seal.update(JSON.stringify(unsealed)).digest(), Buffer.from(claimed, 'hex'))) {
          verifier.found('edited', earliest ?? 0, 'or a later line of the file is not as it was written');
        }
        break;
      }
      seal.update(`${line}\n`);
      const event = storedOf(line);
      count++;
      if (!event) {
        verifier.found('edited', last.sequence + 1, 'cannot be read');
        continue;
      }
      earliest ??= event.sequence;
      if (event.sequence <= tail.genesis.sequence) genesis.add(event);
      else {
        verifier.add(event);
        last = { sequence: event.sequence, mac: event.mac ?? last.mac };
        if (last.sequence === kept?.sequence) places.push(last);
      }
    }
    const isWhole = genesis.events === tail.genesis.events;
    if (isWhole && genesis.events > 0 && !isSame(genesis.mac(), Buffer.from(tail.genesis.mac, 'hex'))) {
      verifier.found('edited', 1, 'or another event from before the chain is not as it was');
    }
    if (count !== tail.events) {
      verifier.found(
        count < tail.events ? 'missing' : 'inserted',
        0,
        `in the file are ${String(count)} events, not ${String(tail.events)}`,
      );
    }
    if (kept) compare(kept, places, tail, verifier);
    const findings = verifier.end(last);
    return { events: count, head, kinds: [...verifier.kinds].sort(), findings };
  } finally {
    await handle.close();
  }
}

/** @throws InvalidInputError */
function compare(kept: Link, places: readonly Link[], { genesis, head }: Tail, verifier: ChainVerifier): void {
  if (kept.sequence < genesis.sequence) verifier.found(...begunAnew(kept));
  else if (kept.sequence > head.sequence) verifier.found(...cutOff(kept, linkOf(head)));
  else {
    const there = places.filter(({ sequence }) => sequence === kept.sequence);
    if (there.some(({ mac }) => !isSame(mac, kept.mac))) verifier.found(...otherEnd(kept.sequence));
    else if (there.length === 0 && verifier.kinds.size === 0) {
      const detail = `The file does not hold event ${String(kept.sequence)}, which the kept head names: verify it without --head, or one that does.`;
      throw new InvalidInputError([], detail);
    }
  }
}

/** Node's own reader takes U+2028 for the end of a line, too. */
async function* linesOf(handle: FileHandle): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of handle.createReadStream({ encoding: 'utf8', start: 0, autoClose: false })) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
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
