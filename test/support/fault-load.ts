import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { FaultServer } from './fault-server.ts';
import { secret } from './secrets.ts';
import { eventually, newAddress, until } from './sign-ins.ts';

/** Milliseconds in which every call must be answered (contract §5). */
const LONGEST_MS = 5_000;
/** Milliseconds after which a call is aborted as hanging. */
const GIVEN_UP_MS = 15_000;
/** Consecutive calls of each kind that must succeed before the service counts as recovered. */
const STEADY = 6;
const TICK_MS = 20;

/** The calls of the load, and the status that each must have unless it is answered with 503. */
const KINDS = {
  /** GET /me with a valid token. */
  me: 200,
  /** … of a suspended account. */
  'me of a suspended': 401,
  /** … with a changed signature. */
  'me with a forged': 401,
  /** POST /generateToken with the right password. */
  token: 200,
  /** … with a wrong one, each from another address. */
  'token with a wrong': 401,
  /** … of a suspended account. */
  'token of a suspended': 403,
  /** Staff provision an account. */
  provision: 201,
  /** Staff add a password, which ends the other one at once. */
  rotate: 201,
  /** Staff change an account. */
  change: 200,
} as const;
type Kind = keyof typeof KINDS;
const ALL_KINDS = Object.keys(KINDS) as Kind[];

interface Call {
  readonly kind: Kind;
  /** When the call began, on the monotonic clock. */
  readonly startedAt: number;
  readonly endedAt: number;
  /** `undefined` if the connection broke. */
  readonly status: number | undefined;
  readonly requestId: string | undefined;
}

interface Credentials {
  readonly username: string;
  readonly password: string;
}
interface Provisioned extends Credentials {
  readonly id: string;
}
interface Created {
  channelUser: { id: string; username: string };
  credential: { id: string; password: string };
}
interface AuditEvent {
  action: string;
  target: { id: string; name: string };
  changes: Record<string, [unknown, unknown]>;
}

/** An answer that the contract does not allow, and why. */
interface Violation {
  readonly kind: Kind;
  readonly what: string;
  readonly requestId: string | undefined;
}

/** How a fault looked from outside. */
export interface Seen {
  /** Number of calls by kind and status. */
  readonly statuses: Partial<Record<Kind, Record<string, number>>>;
  /** Milliseconds of the longest call. */
  readonly slowestMs: number;
}

/**
 * A small steady load of real calls, whose every answer is checked: valid calls, wrong ones that must never succeed,
 * and changes by staff. At the end, {@link verify} checks that no change was lost or half done.
 *
 * Calls of partners begin even if earlier ones are unanswered, since many partners call independently. Staff wait for
 * each answer.
 */
export class FaultLoad {
  readonly calls: Call[] = [];
  private readonly violations: Violation[] = [];
  /** Whether connections may break, because the test kills the process. */
  mayBreak = false;
  #isEnding = false;
  #loops: Promise<void>[] = [];
  readonly #inFlight = new Set<Promise<void>>();
  /** Milliseconds for which this test process was stalled, in total. */
  #stalledMs = 0;
  #ticker: NodeJS.Timeout | undefined;
  readonly #provisioned: Provisioned[] = [];
  /** Usernames whose provisioning was not answered with 201. */
  readonly #unsettled: string[] = [];
  readonly #rotatedTo: { id: string; password: string }[] = [];
  readonly #changedTo: string[] = [];
  readonly #prefix = `load-${randomUUID().slice(0, 8)}`;

  private constructor(
    private readonly server: FaultServer,
    private readonly admin: string,
    private readonly partner: Provisioned & { token: string },
    private readonly suspended: Provisioned & { token: string },
    private readonly changed: Provisioned,
    private readonly rotated: Provisioned,
  ) {}

  /** Provisions the accounts that the load needs. @param admin a token of an admin's session */
  static async prepare(server: FaultServer, admin: string): Promise<FaultLoad> {
    // The previous test's fault may not be over yet.
    const partner = await eventually(() => provision(server, admin).catch(() => undefined), 'staff can provision');
    const suspended = await provision(server, admin);
    const tokens = [await obtain(server, partner), await obtain(server, suspended)] as const;
    await post(server, `/admin/channel-users/${suspended.id}/suspend`, admin, { reason: 'load' });
    return new FaultLoad(
      server,
      admin,
      { ...partner, token: tokens[0] },
      { ...suspended, token: tokens[1] },
      await provision(server, admin),
      await provision(server, admin),
    );
  }

  /** Starts the load, and returns when every kind of call has succeeded several times. */
  async begin(): Promise<void> {
    this.start();
    await this.recovered(performance.now());
  }

  /** Starts the load without waiting. */
  start(): void {
    let last = performance.now();
    this.#ticker = setInterval(() => {
      const now = performance.now();
      this.#stalledMs += Math.max(0, now - last - 2 * TICK_MS);
      last = now;
    }, TICK_MS);
    const { partner, suspended } = this;
    const forged = partner.token.replace(/.{20}$/, 'A'.repeat(20));
    this.#every(60, 'me', () => this.#me(partner.token));
    this.#every(200, 'me of a suspended', () => this.#me(suspended.token));
    this.#every(200, 'me with a forged', () => this.#me(forged));
    this.#every(150, 'token', () => this.#signIn(partner));
    this.#every(200, 'token with a wrong', () => this.#signIn({ ...partner, password: randomUUID() }));
    this.#every(200, 'token of a suspended', () => this.#signIn(suspended));
    this.#loops.push(
      this.#oneByOne((i) => this.#provision(i)),
      this.#oneByOne((i) => this.#change(i)),
      this.#oneByOne(() => this.#rotate()),
    );
  }

  /** Waits until, for each of these kinds, a call that begins from now on has been answered with 503. */
  async fails(...kinds: Kind[]): Promise<void> {
    const from = performance.now();
    const failed = (kind: Kind): boolean =>
      this.calls.some((call) => call.kind === kind && call.startedAt >= from && call.status === 503);
    // A call in progress does not count, so this may take as long as two calls.
    await until(() => kinds.every(failed), `503 for ${kinds.join(', ')}`, 3 * LONGEST_MS);
  }

  /**
   * Waits until everything works again.
   *
   * @param since when the fault ended, on the monotonic clock
   * @returns milliseconds from then to the last answer with an unexpected status
   */
  async recovered(since = performance.now(), withinMs = 20_000): Promise<number> {
    await until(() => ALL_KINDS.every((kind) => this.#isSteady(kind, since)), 'everything works again', withinMs).catch(
      (error: unknown) => {
        const waiting = ALL_KINDS.filter((kind) => !this.#isSteady(kind, since));
        // A server that has ended says why.
        const ended = this.server.isRunning ? '' : `; the server has ended:\n${this.server.process.stderr}`;
        const seen = JSON.stringify(this.seen(since));
        throw new Error(`Not recovered: ${waiting.join(', ')}; ${seen}${ended}`, { cause: error });
      },
    );
    const failed = this.calls.filter(({ kind, status }) => status !== KINDS[kind]).map(({ endedAt }) => endedAt);
    return Math.round(Math.max(0, Math.max(0, ...failed) - since));
  }

  /** Expects that every call since this time got its right status. */
  unharmed(since: number, kinds: readonly Kind[] = ALL_KINDS): void {
    const { statuses } = this.seen(since);
    for (const kind of kinds) {
      expect({ [kind]: statuses[kind] }).toEqual({ [kind]: { [KINDS[kind]]: expect.any(Number) as number } });
    }
  }

  /** What partners and staff saw of calls that began after this time. */
  seen(since = 0): Seen {
    const statuses: Seen['statuses'] = {};
    let slowestMs = 0;
    for (const { kind, status = 'broken', startedAt, endedAt } of this.calls) {
      if (startedAt < since) continue;
      const counts = (statuses[kind] ??= {});
      counts[String(status)] = (counts[String(status)] ?? 0) + 1;
      slowestMs = Math.max(slowestMs, Math.round(endedAt - startedAt));
    }
    return { statuses, slowestMs };
  }

  /** Milliseconds of the longest call of a kind that was answered before this time. */
  slowest(kind: Kind, before: number): number {
    const answered = this.calls.filter((call) => call.kind === kind && call.endedAt <= before);
    return Math.max(0, ...answered.map(({ startedAt, endedAt }) => endedAt - startedAt));
  }

  /** Ends the load, and checks that all answers were allowed and that the database agrees with them. */
  async verify(): Promise<void> {
    await this.end();
    expect(this.violations.map((violation) => ({ ...violation, log: this.#logOf(violation) }))).toEqual([]);
    expect(this.server.isRunning).toBe(true);
    await this.#verifyProvisioning();
    await this.#verifyChanges();
    await this.#verifyRotation();
  }

  /** Stops sending, and waits for the calls in progress. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await Promise.all(this.#loops);
    await Promise.all(this.#inFlight);
    clearInterval(this.#ticker);
  }

  /** Expects no duplicates in the partner's activity. @returns the calls that got a token and are missing there */
  async missingActivity(): Promise<Call[]> {
    const answered = this.calls.filter(({ kind, status }) => kind === 'token' && status === 200);
    const written = (await this.#pages<{ requestId: string }>(`/admin/channel-users/${this.partner.id}/activity`)).map(
      ({ requestId }) => requestId,
    );
    expect(new Set(written).size).toBe(written.length);
    const known = new Set(written);
    return answered.filter(({ requestId }) => requestId === undefined || !known.has(requestId));
  }

  #logOf({ requestId }: Violation): unknown {
    return this.server.log.find((line) => line['requestId'] === requestId && line.err !== undefined)?.err;
  }

  #isSteady(kind: Kind, since: number): boolean {
    const last = this.calls.filter((call) => call.kind === kind && call.startedAt >= since).slice(-STEADY);
    return last.length === STEADY && last.every(({ status }) => status === KINDS[kind]);
  }

  #every(ms: number, kind: Kind, send: () => Promise<Response>): void {
    const loop = async (): Promise<void> => {
      for (let due = performance.now(); !this.#isEnding; due += ms) {
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
        // After a stall, skips the calls that were due in the meantime instead of sending them all at once.
        due = Math.max(due, performance.now() - ms);
        const call = this.#call(kind, send).then(() => undefined);
        this.#inFlight.add(call);
        void call.finally(() => this.#inFlight.delete(call));
      }
    };
    this.#loops.push(loop());
  }

  /** Provisions an account. */
  async #provision(i: number): Promise<void> {
    const username = `${this.#prefix}-${String(i)}`;
    const body = { username, displayName: username };
    const created = await this.#call('provision', () => this.#post('/admin/channel-users', body));
    if (created === undefined) {
      this.#unsettled.push(username);
    } else {
      const { channelUser, credential } = JSON.parse(created) as Created;
      this.#provisioned.push({ id: channelUser.id, username, password: secret(credential.password) });
    }
  }

  async #change(i: number): Promise<void> {
    const displayName = `Name ${String(i)}`;
    const changed = await this.#call('change', () =>
      this.#send(`/admin/channel-users/${this.changed.id}`, { method: 'PATCH', json: { displayName } }),
    );
    if (changed !== undefined) this.#changedTo.push(displayName);
  }

  async #rotate(): Promise<void> {
    const rotated = await this.#call('rotate', () =>
      this.#post(`/admin/channel-users/${this.rotated.id}/credentials`, { retireOthersInSeconds: 0 }),
    );
    if (rotated === undefined) return;
    const { id, password } = (JSON.parse(rotated) as Created).credential;
    this.#rotatedTo.push({ id, password: secret(password) });
  }

  /** Makes each change only after the previous one was answered, so that their order is known. */
  async #oneByOne(change: (i: number) => Promise<void>): Promise<void> {
    for (let i = 1; !this.#isEnding; i++) {
      await change(i);
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
  }

  /** @returns the body, if the answer has the status of its kind */
  async #call(kind: Kind, send: () => Promise<Response>): Promise<string | undefined> {
    const startedAt = performance.now();
    const stalledBefore = this.#stalledMs;
    let answer: Response | undefined;
    let text = '';
    let failure: unknown;
    try {
      answer = await send();
      text = await answer.text();
    } catch (error) {
      answer = undefined;
      failure = error;
    }
    const endedAt = performance.now();
    const requestId = answer?.headers.get('x-request-id') ?? undefined;
    this.calls.push({ kind, startedAt, endedAt, status: answer?.status, requestId });
    const violate = (what: string): void => void this.violations.push({ kind, what, requestId });
    // The time for which this test process was stalled does not count.
    const ms = endedAt - startedAt - (this.#stalledMs - stalledBefore);
    if (ms > LONGEST_MS) violate(`took ${String(Math.round(ms))} ms (${String(answer?.status)})`);
    if (!answer) {
      if (!this.mayBreak) violate(`broke: ${String((failure as Error).cause ?? failure)}`);
      return undefined;
    }
    if (answer.status === KINDS[kind]) {
      if (kind === 'token') secret(text);
      return text;
    }
    if (answer.status !== 503) violate(`${String(answer.status)} ${text.slice(0, 200)}`);
    else if (!(Number(answer.headers.get('retry-after')) >= 1)) violate('503 without Retry-After');
    return undefined;
  }

  #me(token: string): Promise<Response> {
    return this.#send('/me', { token });
  }

  #signIn({ username, password }: Credentials): Promise<Response> {
    return this.#send('/generateToken', {
      method: 'POST',
      form: new URLSearchParams({ Username: username, Password: password }),
      headers: { 'x-forwarded-for': newAddress() },
    });
  }

  #post(path: string, json: unknown): Promise<Response> {
    return this.#send(path, { method: 'POST', json });
  }

  #send(path: string, options: SendOptions): Promise<Response> {
    return send(this.server, path, { token: this.admin, ...options });
  }

  /** Accounts that were answered with 201 exist and work. Every other one exists completely or not at all. */
  async #verifyProvisioning(): Promise<void> {
    const users = await this.#pages<{ id: string; username: string }>(`/admin/channel-users?q=${this.#prefix}`);
    const byName = new Map(users.map((user) => [user.username, user]));
    const events = await this.#pages<AuditEvent>('/admin/audit-events');
    const told = (action: string): Map<string, string> =>
      new Map(events.filter((event) => event.action === action).map(({ target }) => [target.name, target.id]));
    const [created, withPassword] = [told('channel-user.created'), told('credential.created')];
    for (const { id, username } of this.#provisioned) expect(byName.get(username)).toMatchObject({ id });
    for (const username of [...this.#unsettled, ...this.#provisioned.map((each) => each.username)]) {
      const user = byName.get(username);
      expect({ username, created: created.get(username), withPassword: withPassword.get(username) }).toEqual({
        username,
        created: user?.id,
        withPassword: user?.id,
      });
      if (!user) continue;
      const { items } = (await (await this.#send(`/admin/channel-users/${user.id}/credentials`, {})).json()) as {
        items: unknown[];
      };
      expect(items).toHaveLength(1);
    }
    for (const partner of this.#provisioned.slice(-5)) await obtain(this.server, partner);
  }

  /** The audit trail leads from the first name to the current one, through each name that was answered with 200. */
  async #verifyChanges(): Promise<void> {
    const { id } = this.changed;
    const user = (await (await this.#send(`/admin/channel-users/${id}`, {})).json()) as {
      displayName: string;
      version: number;
    };
    const events = await this.#pages<AuditEvent>(`/admin/audit-events?target=${id}&action=channel-user.updated`);
    const steps = new Map(events.map(({ changes }) => changes['displayName'] as [string, string]));
    const trail = ['Load'];
    for (let next = steps.get('Load'); next !== undefined; next = steps.get(next)) trail.push(next);
    expect(trail).toHaveLength(events.length + 1);
    expect(trail.at(-1)).toBe(user.displayName);
    expect(user.version).toBe(events.length + 1);
    expect(trail).toEqual(expect.arrayContaining(this.#changedTo));
  }

  /** Every password that was shown exists and has its event. The last one works, if no other was added after it. */
  async #verifyRotation(): Promise<void> {
    const { id, username } = this.rotated;
    const { items } = (await (await this.#send(`/admin/channel-users/${id}/credentials`, {})).json()) as {
      items: { id: string; status: string }[];
    };
    const events = await this.#pages<AuditEvent>(`/admin/audit-events?target=${id}&action=credential.created`);
    const told = events.map(({ changes }) => String(changes['credentialId']?.[1]));
    expect(told.sort()).toEqual(items.map((credential) => credential.id).sort());
    expect(told).toEqual(expect.arrayContaining(this.#rotatedTo.map((credential) => credential.id)));
    const active = items.filter(({ status }) => status === 'active').map((credential) => credential.id);
    expect(active).toHaveLength(1);
    const last = this.#rotatedTo.at(-1);
    if (last?.id === active[0]) await obtain(this.server, { username, password: last?.password ?? '' });
  }

  async #pages<T>(path: string): Promise<T[]> {
    const all: T[] = [];
    let cursor = '';
    do {
      const join = path.includes('?') ? '&' : '?';
      const answer = await this.#send(`${path}${join}limit=200${cursor}`, {});
      if (answer.status !== 200) throw new Error(`${path}: ${String(answer.status)} ${await answer.text()}`);
      const { items, nextCursor } = (await answer.json()) as { items: T[]; nextCursor: string | null };
      all.push(...items);
      cursor = nextCursor === null ? '' : `&cursor=${nextCursor}`;
    } while (cursor !== '');
    return all;
  }
}

interface SendOptions {
  method?: string;
  token?: string;
  json?: unknown;
  form?: URLSearchParams;
  headers?: Record<string, string>;
}

export function send(server: FaultServer, path: string, options: SendOptions = {}): Promise<Response> {
  const { method = 'GET', token, json, form, headers = {} } = options;
  return fetch(server.url + path, {
    method,
    headers: {
      ...(token !== undefined && form === undefined && { authorization: `Bearer ${token}` }),
      ...(json !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    signal: AbortSignal.timeout(GIVEN_UP_MS),
    ...(json !== undefined && { body: JSON.stringify(json) }),
    ...(form && { body: form }),
  });
}

/** Sends a POST that must succeed. */
export async function post(server: FaultServer, path: string, token: string, json: unknown): Promise<string> {
  const answer = await send(server, path, { method: 'POST', token, json });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${String(answer.status)} ${text}`);
  return text;
}

export async function provision(server: FaultServer, admin: string): Promise<Provisioned> {
  const username = `partner-${randomUUID()}`;
  const body = { username, displayName: 'Load', tokensPerMinute: 1_000_000 };
  const { channelUser, credential } = JSON.parse(await post(server, '/admin/channel-users', admin, body)) as Created;
  return { id: channelUser.id, username, password: secret(credential.password) };
}

export async function obtain(server: FaultServer, { username, password }: Credentials): Promise<string> {
  const form = new URLSearchParams({ Username: username, Password: password });
  const headers = { 'x-forwarded-for': newAddress() };
  const answer = await send(server, '/generateToken', { method: 'POST', form, headers });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`/generateToken: ${String(answer.status)} ${text}`);
  return secret(text);
}

/** Prints a fault's line of the table that shows how each fault looks from outside. */
export function report(fault: string, { statuses, slowestMs }: Seen, recoveryMs?: number): void {
  const brief = Object.entries(statuses).map(
    ([kind, counts]) =>
      `${kind}: ${Object.entries(counts)
        .map(([status, n]) => `${status}×${String(n)}`)
        .join(' ')}`,
  );
  const recovery = recoveryMs === undefined ? '' : `; recovered after ${String(recoveryMs)} ms`;
  process.stdout.write(`fault: ${fault}${recovery}; slowest ${String(slowestMs)} ms; ${brief.join(', ')}\n`);
}
