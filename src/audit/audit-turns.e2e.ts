import { createDecipheriv, createHmac } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { TestApp } from '../../test/support/app.ts';
import { proofLinesOf, recordEvents, verifyTrail } from '../../test/support/inside.ts';

/** More events than any reader takes in one page. */
const EVENTS = 450;
/** Milliseconds that each look at the clock adds: more than a slice of work may take, so every item ends its slice. */
const LOOK_MS = 3;
/** Cryptographic calls between two turns: two sealed parts and a MAC for an event, and a few keys for a page. */
const AT_ONCE = 12;

let app: TestApp;
beforeAll(async () => {
  app = await TestApp.start();
  const partner = await app.newPartner();
  const target = { type: 'channel-user', id: partner.id, name: partner.username };
  await recordEvents(app, EVENTS, { action: 'test.bulk', target });
});
afterAll(() => app.close());
const restorers: (() => void)[] = [];
afterEach(() => {
  for (const restore of restorers.splice(0)) restore();
});

async function exported(format: string): Promise<void> {
  const { token } = await app.asStaff('admin');
  const answer = await app.request('GET', `/admin/audit-events/export?format=${format}`, { token });
  expect(answer.text.split('\n').length).toBeGreaterThan(EVENTS);
}

async function proven(): Promise<void> {
  let text = '';
  for await (const lines of proofLinesOf(app)) text += lines;
  expect(text.split('\n').length).toBeGreaterThan(EVENTS);
}

async function verified(): Promise<void> {
  const { findings, events } = await verifyTrail(app);
  expect(findings).toEqual([]);
  expect(events).toBeGreaterThan(EVENTS);
}

type Method = (this: unknown, ...input: unknown[]) => unknown;

/** Replaces a method until the test ends. */
function replace(object: object, name: string, replacement: (original: Method) => Method): void {
  const methods = object as Record<string, Method>;
  const original = methods[name];
  if (!original) throw new Error(`There is no ${name}()`);
  methods[name] = replacement(original);
  restorers.push(() => {
    methods[name] = original;
  });
}

/** @returns how often `work` decrypted or hashed: in total, and at most between two turns of the event loop */
async function countCrypto(work: () => Promise<void>): Promise<{ total: number; most: number }> {
  const count = { total: 0, most: 0 };
  let sinceTurn = 0;
  let isOver = false;
  const turn = (): void => {
    sinceTurn = 0;
    if (!isOver) setImmediate(turn);
  };
  const counted = (original: Method): Method =>
    function (...input) {
      count.total++;
      count.most = Math.max(count.most, ++sinceTurn);
      return Reflect.apply(original, this, input);
    };
  const decipher = createDecipheriv('aes-256-gcm', Buffer.alloc(32), Buffer.alloc(12));
  replace(Object.getPrototypeOf(decipher) as object, 'final', counted);
  replace(Object.getPrototypeOf(createHmac('sha256', '')) as object, 'digest', counted);
  let looks = 0;
  replace(
    performance,
    'now',
    (original) => () => (Reflect.apply(original, performance, []) as number) + ++looks * LOOK_MS,
  );
  turn();
  await work().finally(() => {
    isOver = true;
  });
  return count;
}

it.each<[string, () => Promise<void>]>([
  ['the export as NDJSON', () => exported('ndjson')],
  ['the export as CSV', () => exported('csv')],
  ['the export with proof', proven],
  ['the verification of the chain', verified],
])('%s yields to other requests between events', async (_, work) => {
  const { total, most } = await countCrypto(work);
  expect(total).toBeGreaterThan(EVENTS);
  expect(most).toBeLessThanOrEqual(AT_ONCE);
});
