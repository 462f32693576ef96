import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { until } from './sign-ins.ts';

/** A message as received. */
export interface Message {
  readonly path: string;
  readonly id: string;
  /** When the message was signed, in milliseconds. */
  readonly at: number;
  readonly signatures: readonly string[];
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  readonly type: string;
  readonly data: Record<string, unknown>;
}

type Answer = (response: http.ServerResponse, message: Message) => void;

/** A receiver of webhooks on loopback, as a third party would write it. */
export class Receiver {
  readonly messages: Message[] = [];
  answer: Answer = (response) => response.writeHead(204).end();
  readonly #server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const { type, data } = JSON.parse(body) as Pick<Message, 'type' | 'data'>;
      const header = (name: string): string => String(request.headers[name]);
      const message: Message = {
        path: request.url ?? '',
        id: header('webhook-id'),
        at: Number(header('webhook-timestamp')) * 1000,
        signatures: header('webhook-signature').split(' '),
        headers: request.headers,
        body,
        type,
        data,
      };
      this.messages.push(message);
      this.answer(response, message);
    });
  });

  private constructor() {
    this.#server.keepAliveTimeout = 1;
  }

  static async start(): Promise<Receiver> {
    const receiver = new Receiver();
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    return receiver;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${String(this.port)}/hook`;
  }

  of(type: string): Message[] {
    return this.messages.filter((message) => message.type === type);
  }

  /** Waits until `count` messages of a type have arrived. */
  async received(type: string, count = 1): Promise<Message[]> {
    await until(() => this.of(type).length >= count, `${String(count)} ${type}`, 20_000);
    return this.of(type);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/**
 * Verifies a message with the library that receivers use. Uses the time of the signature, since a test may move the
 * clock.
 *
 * @returns the payload
 * @throws WebhookVerificationError
 */
export function verified(secret: string, { body, headers, at }: Message): { type: string; timestamp: string } {
  const now = Date.now;
  Date.now = () => at;
  try {
    return new Webhook(secret).verify(body, headers as Record<string, string>) as { type: string; timestamp: string };
  } finally {
    Date.now = now;
  }
}
