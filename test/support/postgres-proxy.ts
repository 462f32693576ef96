import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import { eventually } from './sign-ins.ts';

/** `feed` is the connection on which an instance listens for changes. `pool` means all others. */
type Kind = 'feed' | 'pool';

interface Link {
  readonly kind: Kind;
  readonly client: Socket;
  readonly server: Socket;
  /** Whether an answer on this connection is held back. */
  isHeld: boolean;
  isAbandoned: boolean;
}

interface Hold {
  readonly text: string;
  take(link: Link, answer: Buffer): void;
}

const EVERY_KIND: readonly Kind[] = ['feed', 'pool'];
/** Bind carries parameters, and Query a statement without parameters. */
const QUERY_TYPES = new Set(['B'.charCodeAt(0), 'Q'.charCodeAt(0)]);

/** The ReadyForQuery of an idle session, which ends PostgreSQL's answer to a new connection. */
const READY = Buffer.from('Z\0\0\0\u0005I');
/** The ErrorResponse that `pg_terminate_backend` causes. */
const TERMINATED = errorResponse({
  S: 'FATAL',
  V: 'FATAL',
  C: '57P01',
  M: 'terminating connection due to administrator command',
});

/** A proxy between an instance and PostgreSQL, which imitates faults of a network. */
export class PostgresProxy {
  readonly #listener = net.createServer((client) => {
    this.#accept(client);
  });
  readonly #links = new Set<Link>();
  readonly #stalled = new Set<Kind>();
  readonly #cut = new Set<Kind>();
  #isTerminating = false;
  #terminated = 0;
  readonly #holds = new Set<Hold>();
  readonly #releases = new Set<() => void>();
  readonly #counters = new Set<{ readonly text: string; count: number }>();
  #target: URL;
  #port = 0;

  private constructor(target: string) {
    this.#target = new URL(target);
  }

  static async start(target: string): Promise<PostgresProxy> {
    const proxy = new PostgresProxy(target);
    await proxy.open();
    return proxy;
  }

  /** The URL of the database through this proxy. */
  get url(): string {
    const url = new URL(this.#target);
    url.host = `127.0.0.1:${String(this.#port)}`;
    return url.href;
  }

  /** Sets the database for new connections, since a server may come back at another port. */
  set target(url: string) {
    this.#target = new URL(url);
  }

  /** Forwards nothing and closes nothing, also on new connections, like a firewall that has lost its table. */
  stall(...kinds: Kind[]): void {
    for (const kind of kinds.length === 0 ? EVERY_KIND : kinds) this.#stalled.add(kind);
    for (const link of this.#links) if (this.#stalled.has(link.kind)) pause(link);
  }

  /** Stalls the present connections for good. New connections work. */
  abandon(...kinds: Kind[]): void {
    for (const link of this.#links) {
      if (!kinds.includes(link.kind)) continue;
      link.isAbandoned = true;
      pause(link);
    }
  }

  /** Closes the connections of a kind, and refuses new ones. */
  cut(kind: Kind): void {
    this.#cut.add(kind);
    for (const link of this.#links) if (link.kind === kind) link.client.destroy();
  }

  /**
   * Terminates each new connection of the pool in the moment in which it is ready: the client receives both messages at
   * once.
   */
  terminateNew(): void {
    this.#isTerminating = true;
  }

  /** Connections that {@link terminateNew} has ended. */
  get terminated(): number {
    return this.#terminated;
  }

  /** Ends every {@link stall}, {@link cut} and {@link terminateNew}. */
  mend(): void {
    this.#stalled.clear();
    this.#cut.clear();
    this.#isTerminating = false;
    for (const { client, server, isHeld, isAbandoned } of this.#links) {
      if (isAbandoned) continue;
      client.resume();
      if (!isHeld) server.resume();
    }
  }

  /** Does the same as {@link mend}, and also releases held answers. */
  reset(): void {
    this.#holds.clear();
    for (const release of this.#releases) release();
    this.mend();
  }

  /** Closes all connections and stops listening. */
  async shut(): Promise<void> {
    // close() passes an error if the proxy is not listening, which is ignored.
    const closed = new Promise((resolve) => this.#listener.close(resolve));
    for (const { client } of this.#links) client.destroy();
    await closed;
  }

  /** Listens again, at the same port. */
  async open(): Promise<void> {
    await eventually(async () => {
      this.#listener.listen(this.#port, '127.0.0.1');
      return once(this.#listener, 'listening').catch((error: unknown) => {
        // Another connection may use the port for a moment.
        if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      });
    }, 'the port of the proxy is free');
    this.#port = (this.#listener.address() as AddressInfo).port;
  }

  /**
   * Holds back PostgreSQL's next answer that contains a text, and everything after it on the same connection.
   *
   * @returns `reached` resolves when the answer has arrived at the proxy, and `release` forwards it
   */
  hold(text: string): { reached: Promise<void>; release: () => void } {
    const { promise: reached, resolve } = Promise.withResolvers<undefined>();
    let release = (): void => undefined;
    const hold: Hold = {
      text,
      take: (link, answer) => {
        this.#holds.delete(hold);
        link.isHeld = true;
        link.server.pause();
        release = () => {
          if (!this.#releases.delete(release)) return;
          link.isHeld = false;
          link.client.write(answer);
          link.server.resume();
        };
        this.#releases.add(release);
        resolve(undefined);
      },
    };
    this.#holds.add(hold);
    return {
      reached,
      release: () => {
        release();
      },
    };
  }

  /** Counts the queries from now on that contain a text in their parameters. */
  countQueries(text: string): { readonly count: number } {
    const counter = { text, count: 0 };
    this.#counters.add(counter);
    return counter;
  }

  #accept(client: Socket): void {
    client.on('error', () => undefined);
    client.once('data', (startup) => {
      const kind: Kind = startup.includes('latchkey-changes') ? 'feed' : 'pool';
      if (this.#cut.has(kind)) {
        client.destroy();
        return;
      }
      const server = net.connect(Number(this.#target.port || 5432), this.#target.hostname);
      const link: Link = { kind, client, server, isHeld: false, isAbandoned: false };
      this.#links.add(link);
      server.on('error', () => undefined);
      client.on('close', () => {
        this.#links.delete(link);
        server.destroy();
      });
      server.on('close', () => {
        client.destroySoon();
      });
      server.write(startup);
      const count = this.#countMessages();
      client.on('data', (chunk: Buffer) => {
        count(chunk);
        server.write(chunk);
      });
      let isNew = true;
      server.on('data', (chunk: Buffer) => {
        if (isNew && chunk.subarray(-READY.length).equals(READY)) {
          isNew = false;
          if (this.#isTerminating && kind === 'pool') {
            this.#terminated++;
            client.end(Buffer.concat([chunk, TERMINATED]));
            return;
          }
        }
        const hold = [...this.#holds].find(({ text }) => chunk.includes(text));
        if (hold) hold.take(link, chunk);
        else client.write(chunk);
      });
      if (this.#stalled.has(kind)) pause(link);
    });
  }

  /** Splits a client's bytes into messages. A message has a type, a length that includes itself, and the rest. */
  #countMessages(): (chunk: Buffer) => void {
    let rest: Buffer = Buffer.alloc(0);
    return (chunk) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (;;) {
        const end = rest.length < 5 ? Infinity : 1 + rest.readUInt32BE(1);
        if (rest.length < end) return;
        const message = rest.subarray(0, end);
        rest = rest.subarray(end);
        if (!QUERY_TYPES.has(message[0] ?? 0)) continue;
        for (const counter of this.#counters) if (message.includes(counter.text)) counter.count++;
      }
    };
  }
}

/** A message of PostgreSQL to a client: a type, a length that includes itself, and fields. */
function errorResponse(fields: Record<string, string>): Buffer {
  const body = Buffer.from(
    `${Object.entries(fields)
      .map(([code, value]) => `${code}${value}\0`)
      .join('')}\0`,
  );
  const head = Buffer.from('E\0\0\0\0');
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

function pause({ client, server }: Link): void {
  client.pause();
  server.pause();
}
