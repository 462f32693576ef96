import * as argon2 from '@node-rs/argon2';
import * as bcrypt from '@node-rs/bcrypt';
import { randomBytes } from 'node:crypto';
import type { ResponseDelayService } from './response-delay.service.ts';
import { type Answer, type StaffMember, TestApp } from '../../test/support/app.ts';
import { slowHashesOf } from '../../test/support/inside.ts';
import { secret } from '../../test/support/secrets.ts';
import {
  LOOPBACK_PROXIES,
  eventually,
  importPassword,
  newAddress,
  signInFrom,
  until,
} from '../../test/support/sign-ins.ts';

const SESSION = '/admin/session';

let app: TestApp;
let responseDelay: ResponseDelayService;
/** Releases the memory or queue that a test occupies. */
let release: () => void = () => undefined;

beforeAll(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES });
  responseDelay = slowHashesOf(app);
  app.waits = 'real';
});
afterEach(() => {
  release();
});
afterAll(() => app.close());

function expectUnavailable(answer: Answer): void {
  expect(answer.status).toBe(503);
  expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
}
const signIn = ({ email }: { email: string }, password: string): Promise<Answer> =>
  app.request('POST', SESSION, { json: { email, password }, headers: { 'x-forwarded-for': newAddress() } });
/** Repeats a request until its answer is not a 503: a 503 means that the password was not checked. */
const answerOf = (ask: () => Promise<Answer>): Promise<Answer> =>
  eventually(async () => {
    const answer = await ask();
    return answer.status === 503 ? undefined : answer;
  }, 'an answer');
async function expectSignsIn(member: { email: string }, password: string): Promise<void> {
  const answer = await answerOf(() => signIn(member, password));
  secret(answer.expect(200).json<{ accessToken: string }>().accessToken);
}

describe('while all memory for slow hashes is in use', () => {
  /** All memory for slow hashes: 192 MiB. */
  const ALL_KIB = 196_608;

  async function useAllMemory(): Promise<void> {
    const held = Promise.withResolvers<undefined>();
    const taken = Promise.withResolvers<undefined>();
    const holding = responseDelay.memory.run(Infinity, () => {
      taken.resolve(undefined);
      return held.promise;
    });
    release = () => {
      held.resolve(undefined);
    };
    await taken.promise;
    expect(responseDelay.memory.used).toBe(ALL_KIB);
    void holding;
  }

  async function imported(
    hash: (password: string) => Promise<string>,
  ): Promise<{ username: string; password: string }> {
    const { id, username } = await app.newPartner();
    const password = secret(`Sommer-${randomBytes(4).toString('hex')}`);
    await importPassword(app, id, await hash(password));
    return { username, password };
  }

  it('staff and partners with an argon2 hash wait and sign in once there is memory', async () => {
    const member = await app.newStaff('viewer');
    const partner = await imported((password) => argon2.hash(password, { memoryCost: 4096, timeCost: 1 }));
    await useAllMemory();
    expectUnavailable(await signInFrom(app, newAddress(), partner));
    expectUnavailable(await signIn(member, member.password));
    release();
    secret((await answerOf(() => signInFrom(app, newAddress(), partner))).expect(200).text);
    await expectSignsIn(member, member.password);
    // The sign-in also renews the partner's hash, which needs memory. The next test must not wait for that.
    const { queue } = responseDelay.partnerHashes;
    await until(() => queue.jobs === 0, 'an empty queue');
  });

  it('a partner with a bcrypt hash, which needs none, signs in', async () => {
    const partner = await imported((password) => bcrypt.hash(password, 4));
    await useAllMemory();
    secret((await answerOf(() => signInFrom(app, newAddress(), partner))).expect(200).text);
  });
});

describe('while the queue of slow hashes of staff is full', () => {
  const NEW = secret('correct horse battery staple');

  /** Fills the queue with jobs that last until {@link release}. */
  function fillQueue(): void {
    const { queue } = responseDelay.staffHashes;
    const held = Promise.withResolvers<undefined>();
    const before = release;
    release = () => {
      before();
      held.resolve(undefined);
    };
    while (queue.hasRoom) {
      const key = `held ${randomBytes(8).toString('hex')}`;
      void queue.run(
        key,
        () => held.promise,
        () => false,
      );
    }
  }
  /** Fills the queue again after some of its jobs have started and left room. */
  async function keepQueueFull(): Promise<void> {
    while (responseDelay.staffHashes.queue.hasRoom) {
      fillQueue();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  /** Fills the queue just before a staff member's nth hash is added; `number` counts from 1. */
  function fillQueueBefore(number: number, id: string): void {
    const { queue } = responseDelay.staffHashes;
    const run = queue.run.bind(queue);
    let count = 0;
    queue.run = (key, ...rest) => {
      if (key === id && ++count === number) fillQueue();
      return run(key, ...rest);
    };
    const before = release;
    release = () => {
      queue.run = run;
      before();
    };
  }

  const change = ({ token }: StaffMember, currentPassword: string): Promise<Answer> =>
    app.request('PATCH', `${SESSION}/password`, { token, json: { currentPassword, newPassword: NEW } });
  const changesOf = async ({ id }: StaffMember, action: string): Promise<number> => {
    const { token } = await app.asStaff('admin');
    const answer = await app.request('GET', `/admin/audit-events?target=${id}&action=${action}`, { token });
    return answer.expect(200).json<{ items: unknown[] }>().items.length;
  };
  const isSignedIn = async (token: string): Promise<boolean> =>
    (await app.request('GET', SESSION, { token })).status === 200;

  it.each([
    ['before the current password was verified', 1],
    ['between verifying the current password and hashing the new one', 2],
  ])('a change of the own password gets 503 and changes nothing when it is full %s', async (_, number) => {
    const member = await app.newStaff('viewer');
    const other = await app.signIn(member.email, member.password);
    await app.asStaff('admin');
    if (number === 1) await keepQueueFull();
    else fillQueueBefore(number, member.id);
    expectUnavailable(await change(member, member.password));
    release();
    expect(await changesOf(member, 'staff.password-changed')).toBe(0);
    for (const token of [member.token, other]) expect(await isSignedIn(token)).toBe(true);
    expect((await answerOf(() => signIn(member, NEW))).status).toBe(401);
    await expectSignsIn(member, member.password);

    expect((await answerOf(() => change(member, member.password))).status).toBe(204);
    expect(await changesOf(member, 'staff.password-changed')).toBe(1);
    expect([await isSignedIn(member.token), await isSignedIn(other)]).toEqual([true, false]);
    await expectSignsIn(member, NEW);
  });

  it('attempts to change the own password are not counted, right or wrong', async () => {
    const member = await app.newStaff('viewer');
    await keepQueueFull();
    // Ten wrong passwords would be throttled, so none of these was counted.
    for (let i = 0; i < 12; i++) expectUnavailable(await change(member, i % 2 ? member.password : 'wrong'));
    release();
    expect((await answerOf(() => change(member, 'wrong'))).status).toBe(400);
    expect((await answerOf(() => change(member, member.password))).status).toBe(204);
  });

  it('a link for choosing a password is not used up', async () => {
    const { token } = await app.asStaff('admin');
    const email = `invited-${randomBytes(4).toString('hex')}@staff.example`;
    const json = { email, name: 'Mia', role: 'viewer', deliver: 'link' };
    const { link } = (await app.request('POST', '/admin/staff', { token, json })).expect(201).json<{ link: string }>();
    const use = { secret: secret(link.slice(link.indexOf('#') + 1)), newPassword: NEW };
    await keepQueueFull();
    expectUnavailable(await app.request('POST', '/admin/password-link/use', { json: use }));
    release();
    expect((await answerOf(() => signIn({ email }, NEW))).status).toBe(401);
    const answer = await answerOf(() => app.request('POST', '/admin/password-link/use', { json: use }));
    expect(answer.status).toBe(200);
    await expectSignsIn({ email }, NEW);
  });
});
