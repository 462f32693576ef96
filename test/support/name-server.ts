import dgram from 'node:dgram';
import { once } from 'node:events';
import { isIP } from 'node:net';

const TYPES: Record<number, 4 | 6> = { 1: 4, 28: 6 };

/** A name server over UDP (RFC 1035 §4). The test chooses its answers. */
export class NameServer {
  /** Name → addresses. Names that are not in the map do not exist. */
  readonly names = new Map<string, string[]>();
  /** Every name whose IPv4 addresses were queried. */
  readonly questions: string[] = [];
  readonly #socket = dgram.createSocket('udp4');

  private constructor() {
    this.#socket.on('message', (query, { port, address }) => {
      this.#socket.send(this.#answer(query), port, address);
    });
  }

  static async start(): Promise<NameServer> {
    const server = new NameServer();
    server.#socket.bind(0, '127.0.0.1');
    await once(server.#socket, 'listening');
    return server;
  }

  get address(): string {
    return `127.0.0.1:${String(this.#socket.address().port)}`;
  }

  close(): void {
    this.#socket.close();
  }

  #answer(query: Buffer): Buffer {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const question = query.subarray(12, at + 5);
    const family = TYPES[query.readUInt16BE(at + 1)];
    const name = labels.join('.').toLowerCase();
    if (family === 4) this.questions.push(name);
    const known = this.names.get(name);
    const answers = (known ?? []).filter((address) => isIP(address) === family);
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    // The flags of an answer, with NXDOMAIN (3) for a name that does not exist.
    header.writeUInt16BE(0x8180 | (known ? 0 : 3), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(answers.length, 6);
    return Buffer.concat([header, question, ...answers.map(record)]);
  }
}

/** An address record for the name of the question, with a lifetime of zero so that nobody caches it. */
function record(address: string): Buffer {
  const bytes = isIP(address) === 4 ? Buffer.from(address.split('.').map(Number)) : ipv6(address);
  const head = Buffer.from([0xc0, 12, 0, bytes.length === 4 ? 1 : 28, 0, 1, 0, 0, 0, 0, 0, bytes.length]);
  return Buffer.concat([head, bytes]);
}

function ipv6(address: string): Buffer {
  const [front = '', back = ''] = address.split('::');
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const missing = 8 - groups(front).length - groups(back).length;
  const all = [...groups(front), ...Array<string>(address.includes('::') ? missing : 0).fill('0'), ...groups(back)];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
