import { randomBytes } from 'node:crypto';
import { freePort } from './ports.ts';
import { keepOutput, secret } from './secrets.ts';
import { isRunning, ServerProcess } from './server.ts';
import { eventually } from './sign-ins.ts';

/** What is printed once, to whoever starts the quickstart. */
const FIRST_START_SECRETS = /^(Admin password: |curl ).*$/gm;

/** Exit within 10 s, and a little for a machine that is busy. */
const LONGEST_STOP_MS = 12_000;

/** A line of the log. */
export type LogLine = Record<string, unknown> & { level?: string; msg?: string; err?: { message?: string } };

/** The built server as a process of its own, with what a test needs to look at it from outside. */
export class FaultServer {
  #process: ServerProcess | undefined;
  #past = '';
  url = '';

  private constructor(
    readonly env: Record<string, string>,
    private readonly command: string[],
    private readonly outputFile: string | undefined,
    private readonly opsUrl: string,
  ) {}

  /**
   * Starts it, and makes an admin for it.
   *
   * @param env its environment; `DATABASE_URL` absent: with the embedded database
   * @param options.runtime arguments of Node
   * @param options.output the file that its standard output is; what it says is not seen then
   */
  static async start(
    env: Record<string, string>,
    { runtime = [], output }: { runtime?: string[]; output?: string } = {},
  ): Promise<FaultServer> {
    const opsPort = String(await freePort());
    const command = [process.execPath, ...runtime, 'dist/src/main.js'];
    const server = new FaultServer(
      {
        PORT: output === undefined ? '0' : String(await freePort()),
        OPS_PORT: opsPort,
        // Who calls is said by the header, so that a test has many addresses.
        TRUSTED_PROXIES: '127.0.0.0/8',
        KEY_ENCRYPTION_KEY: secret(randomBytes(32).toString('base64')),
        ...('DATABASE_URL' in env && { PUBLIC_URL: 'http://latchkey.test' }),
        ...env,
      },
      output === undefined ? command : ['sh', '-c', 'file=$0; exec "$@" >> "$file"', output, ...command],
      output,
      `http://127.0.0.1:${opsPort}`,
    );
    await server.restart();
    return server;
  }

  /** @returns once it serves, at another port than before */
  async restart(): Promise<void> {
    this.#past += this.#output;
    this.#process = new ServerProcess({ command: this.command, env: this.env });
    this.url = this.outputFile === undefined ? await this.#process.listening() : await this.#answering();
  }

  async #answering(): Promise<string> {
    const url = `http://127.0.0.1:${String(this.env['PORT'])}`;
    await eventually(
      () => {
        if (!this.isRunning) throw new Error(`The server has ended:\n${this.process.stderr}`);
        return fetch(url).then(
          () => true,
          () => undefined,
        );
      },
      'the server answers',
      60_000,
    );
    return url;
  }

  get process(): ServerProcess {
    if (!this.#process) throw new Error('The server was not started');
    return this.#process;
  }

  get isRunning(): boolean {
    return isRunning(this.process.pid);
  }

  /** Makes an admin by the command line, and signs it in. @returns the session's token */
  async adminToken(): Promise<string> {
    const email = `${randomBytes(4).toString('hex')}@staff.example`;
    const create = new ServerProcess({
      command: [
        process.execPath,
        'dist/src/cli.js',
        'staff',
        'create',
        '--email',
        email,
        '--name',
        'A',
        '--role',
        'admin',
      ],
      env: this.env,
    });
    if ((await create.exited) !== 0) throw new Error(create.stderr);
    const password = secret(create.line('Password: '));
    return eventually(async () => {
      const answer = await fetch(`${this.url}/admin/session`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ email, password }),
      });
      // A slow hash may take longer on a busy machine than a refusal waits.
      if (answer.status !== 200) return undefined;
      return secret(((await answer.json()) as { accessToken: string }).accessToken);
    }, 'the admin signs in');
  }

  /** Every line of the log since the first start. */
  get log(): LogLine[] {
    return `${this.#past}${this.#output}`
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** Waits for a line that an operator would look for. */
  async logs(message: RegExp, from = 0, withinMs = 10_000): Promise<LogLine> {
    return eventually(
      () => this.log.slice(from).find(({ msg = '' }) => message.test(msg)),
      `the log says ${String(message)}`,
      withinMs,
    );
  }

  /** What a metric says now, all its series that carry the labels added up. */
  async metric(name: string, labels: Record<string, string> = {}): Promise<number> {
    const answer = await fetch(`${this.opsUrl}/metrics`, { signal: AbortSignal.timeout(5_000) });
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    const series = (await answer.text())
      .split('\n')
      .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
      .filter((line) => wanted.every((label) => line.includes(label)));
    if (series.length === 0) throw new Error(`There is no metric ${name}${JSON.stringify(labels)}`);
    return series.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  /** Waits until a metric has a value. */
  async shows(
    name: string,
    isThis: (value: number) => boolean,
    labels: Record<string, string> = {},
    withinMs = 10_000,
  ): Promise<void> {
    let last: number | undefined;
    await eventually(
      async () => (isThis((last = await this.metric(name, labels))) ? true : undefined),
      `${name} as expected`,
      withinMs,
    ).catch((error: unknown) => {
      throw new Error(`${name}${JSON.stringify(labels)} is ${String(last)}`, { cause: error });
    });
  }

  /** Status of a health endpoint. */
  async health(which: 'live' | 'ready' | 'startup'): Promise<number> {
    return (await fetch(`${this.opsUrl}/health/${which}`, { signal: AbortSignal.timeout(5_000) })).status;
  }

  /** SIGKILL, as the kernel does it when memory is short. */
  async kill(): Promise<void> {
    await this.process.kill('SIGKILL');
  }

  /** SIGTERM. @returns the exit code; throws when it does not end in time (contract §5) */
  async stop(): Promise<number | NodeJS.Signals> {
    const late = setTimeout(() => {
      process.kill(this.process.pid, 'SIGKILL');
    }, LONGEST_STOP_MS);
    const end = await this.process.kill('SIGTERM').finally(() => {
      clearTimeout(late);
    });
    if (end === 'SIGKILL') throw new Error(`The server does not stop:\n${this.process.stderr}`);
    return end;
  }

  /** Stops it if it runs, and keeps its output for the search for secrets. */
  async remove(): Promise<void> {
    try {
      if (this.#process && this.isRunning) await this.stop();
    } finally {
      keepOutput((this.#past + this.#output).replace(FIRST_START_SECRETS, ''));
      this.#past = '';
      this.#process = undefined;
    }
  }

  get #output(): string {
    return this.#process ? this.#process.stdout + this.#process.stderr : '';
  }
}
