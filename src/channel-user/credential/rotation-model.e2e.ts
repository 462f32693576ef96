import fc from 'fast-check';
import { randomBytes } from 'node:crypto';
import { type Answer, TestApp } from '../../../test/support/app.ts';
import { changeFeedOf } from '../../../test/support/inside.ts';
import { secret } from '../../../test/support/secrets.ts';

/**
 * Plays random histories of rotations on two instances against a small model of what must happen. After each step, the
 * model says what every known password gets. Apart from that, one rule must hold: the password that the partner's
 * software used last goes on working, unless something else than an unfinished rotation ends it.
 */
const HISTORIES = 500;
const STEPS = { minLength: 10, maxLength: 20 };

const HOUR = 3_600;
const DAY = 24 * HOUR;
const PENDING_SECONDS = 30 * DAY;
/** When the staff session begins, so that it is valid at any time that a history reaches. */
const SESSION_AT = 4_000 * DAY;
const END = 'Withdrawing new passwords that nobody used';
const USERS = '/admin/channel-users';

type Outcome = 'token' | 'expired' | 'suspended' | 'refused';

/** A password as the model knows it. Times are in seconds since the start of its history. */
interface Password {
  readonly number: number;
  readonly createdAt: number;
  readonly retireSeconds: number | undefined;
  readonly linkEndsAt: number | undefined;
  ownEnd: number;
  end: number;
  pending: boolean;
  ended: 'revoked' | 'withdrawn' | undefined;
  isOpened: boolean;
  /** Whether anything but an unfinished rotation ended it, so that its holder may be left without it. */
  isExcused: boolean;
}

/** What must be. */
class Model {
  time = 0;
  isSuspended = false;
  isDeleted = false;
  readonly passwords: Password[] = [];
  /** The password that the partner's software used last. */
  inUse: Password | undefined;

  isLive({ ended, end }: Password): boolean {
    return ended === undefined && end > this.time;
  }

  statusOf(password: Password): string {
    if (password.ended) return password.ended;
    if (!this.isLive(password)) return 'expired';
    return password.pending ? 'pending' : 'active';
  }

  outcomeOf(password: Password): Outcome {
    if (this.isDeleted || password.ended) return 'refused';
    if (this.isSuspended) return 'suspended';
    return this.isLive(password) ? 'token' : 'expired';
  }

  get waiting(): Password | undefined {
    return this.passwords.find((password) => this.statusOf(password) === 'pending');
  }

  othersAlive(password?: Password): Password[] {
    return this.passwords.filter((other) => other !== password && this.isLive(other));
  }

  withdraw(password: Password, byStaff: boolean): void {
    password.ended = 'withdrawn';
    if (byStaff) password.isExcused = true;
  }

  retire(passwords: readonly Password[], seconds: number): void {
    for (const password of passwords) {
      password.end = Math.min(password.end, this.time + seconds);
      password.isExcused = true;
    }
  }

  /** The software obtains a token. The first one completes the rotation, which excuses the end of the others. */
  use(password: Password): void {
    this.inUse = password;
    if (!password.pending) return;
    password.pending = false;
    this.retire(this.othersAlive(password), password.retireSeconds ?? 0);
  }

  /** What Latchkey withdraws by itself. */
  endUnused(): void {
    const password = this.passwords.find(({ pending, ended }) => pending && ended === undefined);
    if (!password) return;
    const isUnopened = password.linkEndsAt !== undefined && !password.isOpened && password.linkEndsAt <= this.time;
    const isOld = password.createdAt + PENDING_SECONDS <= this.time && this.othersAlive(password).length > 0;
    if (password.end <= this.time || isUnopened || isOld) this.withdraw(password, false);
  }
}

interface Known {
  readonly id: string;
  readonly link: string | undefined;
  readonly handoverId: string | undefined;
  value: string | undefined;
}

/** The channel user of one history on the two instances. */
class Real {
  readonly known: Known[] = [];

  constructor(
    readonly id: string,
    readonly username: string,
  ) {}

  async staff(method: string, path: string, json?: object): Promise<Answer> {
    return a.request(method, `${USERS}/${this.id}${path}`, { token: staffToken, ...(json && { json }) });
  }

  idOf({ number }: Password): string {
    return this.#knownOf(number).id;
  }

  knownOf({ number }: Password): Known {
    return this.#knownOf(number);
  }

  #knownOf(number: number): Known {
    const known = this.known[number];
    if (!known) throw new Error('The model and the server differ in the number of passwords');
    return known;
  }

  /** @param page signs in on the partner's page, which leaves everything as it is */
  async signIn(password: Password, app: TestApp, page: boolean): Promise<Outcome> {
    const { value } = this.knownOf(password);
    if (value === undefined) throw new Error('Nobody knows this password');
    const answer = await app.request('POST', '/generateToken', {
      form: { Username: this.username, Password: value },
      headers: page ? { 'latchkey-client': 'partner-page' } : {},
    });
    if (answer.status === 200) return 'token';
    if (answer.status === 403) {
      return answer.headers.get('error-code') === 'credential_expired' ? 'expired' : 'suspended';
    }
    // After ten refusals, further ones are 429.
    if (answer.status === 401 || answer.status === 429) return 'refused';
    throw new Error(`A sign-in was answered ${String(answer.status)}: ${answer.text}`);
  }
}

let a: TestApp;
let b: TestApp;
let staffToken: string;

function setTime(seconds: number): void {
  for (const app of [a, b]) app.clockOffset = seconds * 1000;
}

/** What waits for a notification, by its key, on each instance. */
const heardOf = new Map<TestApp, (key: string) => void>();

/** Waits until both instances know what has changed. */
async function settled(): Promise<void> {
  const sent = randomBytes(8).toString('hex');
  const heard = [a, b].map(
    (app) =>
      new Promise<void>((resolve) => {
        heardOf.set(app, (key) => {
          if (key === sent || key === '*') resolve();
        });
      }),
  );
  await a.dataSource.query(`SELECT pg_notify('latchkey_change', $1)`, [`test:${sent}`]);
  await Promise.all(heard);
}

beforeAll(async () => {
  a = await TestApp.start();
  b = await TestApp.start({ ...a.config });
  const stopped = Date.now();
  for (const app of [a, b]) {
    app.now = () => stopped;
    changeFeedOf(app).subscribe('test', {
      changed: (key) => heardOf.get(app)?.(key),
      reset: () => heardOf.get(app)?.('*'),
    });
  }
  setTime(SESSION_AT);
  staffToken = (await a.newStaff('admin')).token;
  setTime(0);
});
afterAll(async () => {
  await b.close();
  await a.close();
});

type Step = fc.AsyncCommand<Model, Real>;

/** Compares everything that can be seen with the model. */
async function verify(model: Model, real: Real): Promise<void> {
  await settled();
  for (const password of model.passwords) {
    if (real.knownOf(password).value === undefined) continue;
    const outcome = await real.signIn(password, a, true);
    expect([password.number, outcome]).toEqual([password.number, model.outcomeOf(password)]);
  }
  const { inUse } = model;
  if (inUse && !inUse.isExcused && !model.isSuspended && !model.isDeleted && inUse.ownEnd > model.time) {
    expect(await real.signIn(inUse, a, true)).toBe('token');
  }
  if (model.isDeleted) return;
  const { items } = (await real.staff('GET', '/credentials')).expect(200).json<{
    items: { id: string; status: string; pendingSince: string | null }[];
  }>();
  const statuses = new Map(items.map(({ id, status }) => [id, status]));
  const expected = new Map(model.passwords.map((password) => [real.idOf(password), model.statusOf(password)]));
  expect(Object.fromEntries(statuses)).toEqual(Object.fromEntries(expected));
}

/** A step that does something and then compares everything. */
function step(
  name: string,
  run: (model: Model, real: Real) => Promise<unknown>,
  check: (model: Model) => boolean = () => true,
): Step {
  return {
    check: (model) => !model.isDeleted && check(model),
    run: async (model, real) => {
      await run(model, real);
      await verify(model, real);
    },
    toString: () => name,
  };
}

const pick = (passwords: readonly Password[], n: number): Password | undefined => passwords[n % passwords.length];

interface Rotation {
  readonly form: 'first-use' | 'now' | 'older';
  readonly seconds: number;
  readonly linkTtl: number | undefined;
  readonly lastsFor: number | undefined;
  /** A number picks any password; `pending` the one that waits. */
  readonly replaces: 'nothing' | 'pending' | number;
}

async function rotate(model: Model, real: Real, rotation: Rotation): Promise<void> {
  const { form, seconds, linkTtl, lastsFor, replaces } = rotation;
  const { waiting } = model;
  const replaced =
    replaces === 'pending' ? waiting : replaces === 'nothing' ? undefined : pick(model.passwords, replaces);
  const answer = await real.staff('POST', '/credentials', {
    ...(form === 'older' ? { retireOthersInSeconds: seconds } : { retireOthers: { after: form, seconds } }),
    ...(linkTtl !== undefined && { deliver: 'link', linkTtlSeconds: linkTtl }),
    ...(lastsFor !== undefined && { expiresAt: new Date(a.now() + a.clockOffset + lastsFor * 1000).toISOString() }),
    ...(replaced && { replaces: real.idOf(replaced) }),
  });
  const isNow = form !== 'first-use';
  const refusal = refusalOf(model, { waiting, replaced, isNow, seconds });
  if (refusal !== undefined) {
    expect([answer.status, answer.json<{ code: string }>().code]).toEqual([409, refusal]);
    return;
  }
  const stale = model.passwords.find(({ pending, ended }) => pending && ended === undefined);
  if (stale) model.withdraw(stale, waiting !== undefined);
  const { credential, handoverUrl, handover } = answer.expect(201).json<{
    credential: { id: string; password?: string };
    handoverUrl?: string;
    handover?: { id: string };
  }>();
  const others = model.othersAlive();
  const end = lastsFor === undefined ? Infinity : model.time + lastsFor;
  const waits = !isNow && others.length > 0;
  model.passwords.push({
    number: model.passwords.length,
    createdAt: model.time,
    retireSeconds: waits ? seconds : undefined,
    linkEndsAt: linkTtl === undefined ? undefined : Math.min(model.time + linkTtl, end),
    ownEnd: end,
    end,
    pending: waits,
    ended: undefined,
    isOpened: linkTtl === undefined,
    isExcused: false,
  });
  real.known.push({
    id: credential.id,
    link: handoverUrl === undefined ? undefined : secret(handoverUrl.split('#')[1] ?? ''),
    handoverId: handover?.id,
    value: credential.password === undefined ? undefined : secret(credential.password),
  });
  if (isNow) model.retire(others, seconds);
}

function refusalOf(
  model: Model,
  request: { waiting: Password | undefined; replaced: Password | undefined; isNow: boolean; seconds: number },
): string | undefined {
  const { waiting, replaced, isNow, seconds } = request;
  if (replaced && replaced !== waiting) return 'credential.not-pending';
  if (waiting && !replaced && !isNow) return 'credential.rotation-pending';
  const kept = isNow && seconds === 0 ? 0 : model.othersAlive(waiting).length;
  return kept >= 5 ? 'credential.too-many' : undefined;
}

async function open(model: Model, real: Real, password: Password): Promise<void> {
  const known = real.knownOf(password);
  const answer = await a.request('POST', '/handover/reveal', { json: { secret: known.link } });
  const works = !password.isOpened && model.isLive(password) && (password.linkEndsAt ?? 0) > model.time;
  expect([answer.status === 200, works]).toEqual([works, works]);
  if (!works) return;
  known.value = secret(answer.json<{ password: string }>().password);
  password.isOpened = true;
}

async function use(model: Model, real: Real, password: Password, app: TestApp): Promise<void> {
  const expected = model.outcomeOf(password);
  expect(await real.signIn(password, app, false)).toBe(expected);
  if (expected === 'token') model.use(password);
}

async function useAndWithdraw(model: Model, real: Real, password: Password): Promise<void> {
  const [used, withdrawn] = await Promise.all([
    real.signIn(password, b, false),
    real.staff('POST', `/credentials/${real.idOf(password)}/withdraw`),
  ]);
  // One of both was first.
  expect(['token 409', 'refused 200']).toContain(`${used} ${String(withdrawn.status)}`);
  if (used === 'token') model.use(password);
  else model.withdraw(password, true);
}

const openable = (model: Model): Password[] => model.passwords.filter(({ linkEndsAt }) => linkEndsAt !== undefined);
const held = (model: Model): Password[] => model.passwords.filter(({ isOpened }) => isOpened);
const isUsable = ({ isSuspended, waiting }: Model): boolean => !isSuspended && waiting?.isOpened === true;

const n = fc.nat({ max: 50 });
const rotating: fc.Arbitrary<Step> = fc
  .record<Rotation>({
    form: fc.constantFrom('first-use', 'first-use', 'first-use', 'now', 'older'),
    seconds: fc.constantFrom(0, HOUR, DAY),
    linkTtl: fc.constantFrom(undefined, HOUR, 3 * DAY, 30 * DAY),
    lastsFor: fc.constantFrom(undefined, undefined, undefined, 2 * DAY, 40 * DAY),
    replaces: fc.oneof(
      { weight: 4, arbitrary: fc.constant<'nothing'>('nothing') },
      { weight: 2, arbitrary: fc.constant<'pending'>('pending') },
      { weight: 1, arbitrary: n },
    ),
  })
  .map((rotation) => step(`rotate ${JSON.stringify(rotation)}`, (model, real) => rotate(model, real, rotation)));

const opening: fc.Arbitrary<Step> = n.map((i) =>
  step(
    `open ${String(i)}`,
    async (model, real) => {
      const { waiting } = model;
      const password = waiting?.isOpened === false ? waiting : pick(openable(model), i);
      if (password) await open(model, real, password);
    },
    (model) => openable(model).length > 0,
  ),
);

const using: fc.Arbitrary<Step> = fc.tuple(n, fc.boolean()).map(([i, onSecond]) =>
  step(`use ${String(i)}${onSecond ? ' on the second instance' : ''}`, async (model, real) => {
    const password = pick(held(model), i);
    if (password) await use(model, real, password, onSecond ? b : a);
  }),
);

const usingNew: fc.Arbitrary<Step> = fc.constant(
  step(
    'use the new one',
    async (model, real) => {
      if (model.waiting) await use(model, real, model.waiting, b);
    },
    isUsable,
  ),
);

const usingTwice: fc.Arbitrary<Step> = fc.constant(
  step(
    'use the new one twice at once',
    async (model, real) => {
      const { waiting } = model;
      if (!waiting) return;
      expect(await Promise.all([real.signIn(waiting, a, false), real.signIn(waiting, b, false)])).toEqual([
        'token',
        'token',
      ]);
      model.use(waiting);
    },
    isUsable,
  ),
);

const racing: fc.Arbitrary<Step> = fc.constant(
  step(
    'use and withdraw at once',
    async (model, real) => {
      if (model.waiting) await useAndWithdraw(model, real, model.waiting);
    },
    isUsable,
  ),
);

const withdrawing: fc.Arbitrary<Step> = n.map((i) =>
  step(`withdraw ${String(i)}`, async (model, real) => {
    const password = model.waiting ?? pick(model.passwords, i);
    if (!password) return;
    const { status } = await real.staff('POST', `/credentials/${real.idOf(password)}/withdraw`);
    expect(status).toBe(password === model.waiting ? 200 : 409);
    if (password === model.waiting) model.withdraw(password, true);
  }),
);

const revokingLink: fc.Arbitrary<Step> = n.map((i) =>
  step(
    `revoke the link ${String(i)}`,
    async (model, real) => {
      const password = pick(openable(model), i);
      if (!password) return;
      const { status } = await real.staff('DELETE', `/handovers/${String(real.knownOf(password).handoverId)}`);
      expect(status).toBe(password.isOpened ? 409 : 204);
      if (password === model.waiting && !password.isOpened) model.withdraw(password, true);
      if (!password.isOpened) Object.assign(password, { linkEndsAt: 0 });
    },
    (model) => openable(model).length > 0,
  ),
);

const revoking: fc.Arbitrary<Step> = n.map((i) =>
  step(`revoke ${String(i)}`, async (model, real) => {
    const password = pick(model.passwords, i);
    if (!password) return;
    expect((await real.staff('DELETE', `/credentials/${real.idOf(password)}`)).status).toBe(204);
    password.ended ??= 'revoked';
    password.isExcused = true;
  }),
);

const suspending: fc.Arbitrary<Step> = fc.boolean().map((suspend) =>
  step(suspend ? 'suspend' : 'reactivate', async (model, real) => {
    const path = suspend ? '/suspend' : '/reactivate';
    expect((await real.staff('POST', path, { reason: 'x' })).status).toBe(200);
    model.isSuspended = suspend;
  }),
);

const waitingFor: fc.Arbitrary<Step> = fc.constantFrom(HOUR, DAY, 3 * DAY, 31 * DAY).map((seconds) =>
  step(`wait ${String(seconds / HOUR)} hours`, (model) => {
    model.time += seconds;
    setTime(model.time);
    return Promise.resolve();
  }),
);

const ending: fc.Arbitrary<Step> = fc.constant(
  step('end what nobody uses', async (model) => {
    await Promise.all([a.runTask(END), b.runTask(END)]);
    model.endUnused();
  }),
);

/** How often each step comes. */
const MIX: fc.WeightedArbitrary<Step>[] = [
  { arbitrary: rotating, weight: 20 },
  { arbitrary: opening, weight: 10 },
  { arbitrary: using, weight: 8 },
  { arbitrary: usingNew, weight: 10 },
  { arbitrary: usingTwice, weight: 6 },
  { arbitrary: racing, weight: 6 },
  { arbitrary: withdrawing, weight: 4 },
  { arbitrary: revokingLink, weight: 3 },
  { arbitrary: revoking, weight: 4 },
  { arbitrary: suspending, weight: 4 },
  { arbitrary: waitingFor, weight: 10 },
  { arbitrary: ending, weight: 6 },
];
const DELETION = step('delete', async (model, real) => {
  expect((await real.staff('DELETE', '')).status).toBe(204);
  model.isDeleted = true;
});

async function begin(): Promise<{ model: Model; real: Real }> {
  setTime(0);
  const username = `partner-${randomBytes(6).toString('hex')}`;
  const answer = await a.request('POST', USERS, {
    token: staffToken,
    json: { username, displayName: username, tokensPerMinute: 10_000 },
  });
  const { channelUser, credential } = answer.expect(201).json<{
    channelUser: { id: string };
    credential: { id: string; password: string };
  }>();
  const model = new Model();
  const end = Infinity;
  model.passwords.push({
    number: 0,
    createdAt: 0,
    retireSeconds: undefined,
    linkEndsAt: undefined,
    ownEnd: end,
    end,
    pending: false,
    ended: undefined,
    isOpened: true,
    isExcused: false,
  });
  const real = new Real(channelUser.id, username);
  const value = secret(credential.password);
  real.known.push({ id: credential.id, link: undefined, handoverId: undefined, value });
  model.inUse = model.passwords[0];
  return { model, real };
}

it(`finds no outage and no password that works wrongly in ${String(HISTORIES)} histories`, async () => {
  const histories = fc.array(fc.oneof(...MIX, { arbitrary: fc.constant(DELETION), weight: 1 }), STEPS);
  await fc.assert(
    fc.asyncProperty(histories, (history) => fc.asyncModelRun(begin, history)),
    { numRuns: HISTORIES },
  );
}, 1_200_000);
