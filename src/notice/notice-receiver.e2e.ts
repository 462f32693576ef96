import { createHmac, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { BlockList } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { TestApp } from '../../test/support/app.ts';
import { freePort } from '../../test/support/ports.ts';
import { secret } from '../../test/support/secrets.ts';
import { ServerProcess } from '../../test/support/server.ts';
import { eventually, until } from '../../test/support/sign-ins.ts';

/** The page whose receiver without a library is tested as it is printed. */
const page = readFileSync('docs/notices.md', 'utf8');
const code = /### Without a library[^]*?^```python$\n(?<code>[^]*?)^```$/m.exec(page)?.groups?.['code'] ?? '';
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');

const nowInSeconds = (): number => Math.floor(Date.now() / 1000);

/** Signs as the page describes, without the library that the server uses. */
function signatureOf(whsec: string, id: string, timestamp: string, body: string): string {
  const key = Buffer.from(whsec.replace(/^whsec_/, ''), 'base64');
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}

it('the example in the documentation has the signature that its secret makes', () => {
  const request = /^```http$\n(?<head>[^]*?)\n\n(?<body>[^]*?)\n```$/m.exec(page)?.groups ?? {};
  const header = (name: string): string =>
    new RegExp(`^${name}: (.*)$`, 'm').exec(request['head'] ?? '')?.[1] ?? `no ${name}`;
  const [whsec = ''] = /whsec_[A-Za-z0-9+/]+=*/.exec(page.slice(page.indexOf('### Without a library'))) ?? [];
  expect(Buffer.from(whsec.slice('whsec_'.length), 'base64')).toHaveLength(32);
  expect(header('webhook-signature')).toBe(
    signatureOf(whsec, header('webhook-id'), header('webhook-timestamp'), request['body'] ?? ''),
  );
});

describe('a receiver written from the documentation', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'latchkey-receiver-'));
  const running: ServerProcess[] = [];
  let app: TestApp;
  let token: string;

  beforeAll(async () => {
    writeFileSync(path.join(folder, 'receiver.py'), code);
    app = await TestApp.start({ webhookAllowedNetworks: LOOPBACK });
    ({ token } = await app.asStaff('admin'));
  });
  afterEach(async () => {
    for (const process of running.splice(0)) await process.kill('SIGKILL');
  });
  afterAll(async () => {
    await app.close();
    rmSync(folder, { recursive: true });
  });

  /** Runs the receiver on a port, with the given secrets. */
  async function receive(port: number, secrets: string): Promise<ServerProcess> {
    const process = new ServerProcess({
      command: ['/usr/bin/python3', path.join(folder, 'receiver.py')],
      env: { LATCHKEY_WEBHOOK_SECRET: secrets, PORT: String(port) },
    });
    running.push(process);
    const answers = (): Promise<true | undefined> =>
      fetch(`http://127.0.0.1:${String(port)}/`).then(
        () => true as const,
        () => undefined,
      );
    await eventually(answers, 'the receiver');
    return process;
  }

  const addWebhook = async (port: number): Promise<{ id: string; secret: string }> => {
    const url = `http://127.0.0.1:${String(port)}/hook`;
    const answer = await app.request('POST', '/admin/webhooks', { token, json: { url } });
    expect(answer.status).toBe(201);
    const made = answer.json<{ id: string; secret: string }>();
    secret(made.secret);
    return made;
  };
  const sendTest = (id: string) => app.request('POST', `/admin/webhooks/${id}/test`, { token });

  it('accepts what the server sends, even during a rotation of the secret', async () => {
    const port = await freePort();
    const webhook = await addWebhook(port);
    const old = await receive(port, webhook.secret);
    await sendTest(webhook.id);
    await eventually(() => old.lines.find((line) => line.endsWith(' webhook.test')), 'the first notice');

    const rotated = await app.request('POST', `/admin/webhooks/${webhook.id}/rotate-secret`, { token, json: {} });
    const next = secret(rotated.json<{ secret: string }>().secret);
    await sendTest(webhook.id);
    await until(() => old.lines.length === 2, 'one that the old secret verifies');
    await old.kill('SIGKILL');
    running.splice(0);
    const both = await receive(port, `${next},${webhook.secret}`);
    await sendTest(webhook.id);
    await eventually(() => both.lines[0], 'one that either secret verifies');
  });

  it('refuses forged, changed, old, future and incomplete messages', async () => {
    const whsec = secret(`whsec_${randomBytes(32).toString('base64')}`);
    const port = await freePort();
    await receive(port, whsec);
    const body = JSON.stringify({ type: 'webhook.test', timestamp: new Date().toISOString(), data: { name: 'Zoë' } });
    const statusOf = async (headers: Record<string, string>, sent = body): Promise<number> =>
      (await fetch(`http://127.0.0.1:${String(port)}/`, { method: 'POST', headers, body: sent })).status;
    const headersAt = (seconds: number, by = whsec): Record<string, string> => ({
      'webhook-id': 'a-notice',
      'webhook-timestamp': String(seconds),
      'webhook-signature': signatureOf(by, 'a-notice', String(seconds), body),
    });
    const now = nowInSeconds();
    const genuine = headersAt(now);
    const other = headersAt(now, `whsec_${randomBytes(32).toString('base64')}`);
    const { 'webhook-id': _, ...withoutId } = genuine;
    expect(await statusOf(genuine)).toBe(204);
    expect(await statusOf({ ...genuine, 'webhook-signature': `v1,AAAA ${genuine['webhook-signature'] ?? ''}` })).toBe(
      204,
    );
    expect({
      forged: await statusOf(other),
      changed: await statusOf(genuine, body.replace('Zoë', 'Zoe')),
      old: await statusOf(headersAt(now - 3_600)),
      future: await statusOf(headersAt(now + 3_600)),
      ofAnotherNotice: await statusOf({ ...genuine, 'webhook-id': 'another' }),
      withoutId: await statusOf(withoutId),
      withoutHeaders: await statusOf({}),
      atNoTime: await statusOf({ ...genuine, 'webhook-timestamp': 'now' }),
      ofAnotherVersion: await statusOf({
        ...genuine,
        'webhook-signature': (genuine['webhook-signature'] ?? '').replace('v1,', 'v2,'),
      }),
    }).toEqual({
      forged: 401,
      changed: 401,
      old: 401,
      future: 401,
      ofAnotherNotice: 401,
      withoutId: 401,
      withoutHeaders: 401,
      atNoTime: 401,
      ofAnotherVersion: 401,
    });
  });
});
