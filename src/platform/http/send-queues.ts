import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';

/** Milliseconds for which one reading of the tables serves all connections. */
const FRESH_MS = 1_000;
/** Where Linux lists its connections, with the bytes that wait to be sent or acknowledged. */
const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'];

/**
 * How many bytes the kernel has yet to send on each connection. A write ends once the kernel has buffered it, and the
 * kernel buffers megabytes. A slow client can read those for minutes before the process notices.
 */
export class SendQueues {
  #readAt = -Infinity;
  #queues: Promise<Map<string, number>> = Promise.resolve(new Map<string, number>());

  /** @returns the bytes to be sent, or nothing on a system without these tables */
  async of({ localPort, remotePort }: Socket): Promise<number | undefined> {
    const now = performance.now();
    if (now - this.#readAt > FRESH_MS) {
      this.#readAt = now;
      this.#queues = readQueues();
    }
    return (await this.#queues).get(keyOf(localPort ?? 0, remotePort ?? 0));
  }
}

// Adds up clients that have the same port and different addresses. No connection ends too early because of that.
const keyOf = (localPort: number, remotePort: number): string => `${String(localPort)} ${String(remotePort)}`;

const portOf = (address = ''): number => parseInt(address.slice(address.indexOf(':') + 1), 16);

async function readQueues(): Promise<Map<string, number>> {
  const queues = new Map<string, number>();
  const tables = await Promise.all(TABLES.map((file) => readFile(file, 'utf8').catch(() => '')));
  for (const line of tables.join('\n').split('\n')) {
    const [, local, remote, , waiting] = line.trim().split(/\s+/, 5);
    const bytes = parseInt(waiting ?? '', 16);
    if (Number.isNaN(bytes)) continue;
    const key = keyOf(portOf(local), portOf(remote));
    queues.set(key, (queues.get(key) ?? 0) + bytes);
  }
  return queues;
}
