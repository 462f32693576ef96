import { randomBytes } from 'node:crypto';
import { freePort } from './ports.ts';
import { keepOutput, secret } from './secrets.ts';
import { isRunning, ServerProcess } from './server.ts';
import { eventually, until } from './sign-ins.ts';
import { staffTokenOf } from './staff-sign-in.ts';

/** The secrets that the quickstart prints once, at its first start. */
const FIRST_START_SECRETS = /^(Admin password: |curl ).*$/gm;

/** Milliseconds for a stop: the contract's ten seconds and a little more for a busy machine. */
const LONGEST_STOP_MS = 12_000;

/** A line of the log. */
export type LogLine = Record<string, unknown> & { level?: string; msg?: string; err?: { message?: string } };

/** The built server as a separate process, and helpers to observe it from outside. */
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
   * Starts the server.
   *
   * @param env the server's environment. Without `DATABASE_URL`, the server uses the embedded database
   * @param options.runtime arguments for Node
   * @param options.output a file for standard output, which the test then does not see
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
        // X-Forwarded-For sets the client's address, so that a test can use many addresses.
        TRUSTED_PROXIES: '127.0.0.0/8',
        KEY_ENCRYPTION_KEY: secret(randomBytes(32).toString('base64')),
        ...('DATABASE_URL' in env && { NODE_ENV: 'development', PUBLIC_URL: 'http://latchkey.test' }),
        ...env,
      },
      output === undefined ? command : ['sh', '-c', 'file=$0; exec "$@" >> "$file"', output, ...command],
      output,
      `http://127.0.0.1:${opsPort}`,
    );
    await server.restart();
    return server;
  }

  /** Starts the server again, usually at another port. @returns once it serves */
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

  /** Creates an admin on the command line, and signs it in. @returns the session's token */
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
    return staffTokenOf(this.url, { email, password });
  }

  /** Every line of the log since the first start. */
  get log(): LogLine[] {
    return `${this.#past}${this.#output}`
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** Waits for a line of the log with this message. */
  async logs(message: RegExp, from = 0, withinMs = 10_000): Promise<LogLine> {
    return eventually(
      () => this.log.slice(from).find(({ msg = '' }) => message.test(msg)),
      `the log says ${String(message)}`,
      withinMs,
    );
  }

  /** The current value of a metric: the sum of its series that have these labels. */
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
    await until(async () => isThis((last = await this.metric(name, labels))), `${name} as expected`, withinMs).catch(
      (error: unknown) => {
        throw new Error(`${name}${JSON.stringify(labels)} is ${String(last)}`, { cause: error });
      },
    );
  }

  /** Status of a health endpoint. */
  async health(which: 'live' | 'ready' | 'startup'): Promise<number> {
    return (await fetch(`${this.opsUrl}/health/${which}`, { signal: AbortSignal.timeout(5_000) })).status;
  }

  /** Sends SIGKILL, as the kernel does when memory runs out. */
  async kill(): Promise<void> {
    await this.process.kill('SIGKILL');
  }

  /** Sends SIGTERM. @returns the exit code. Throws if the server does not end in time (contract §5) */
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

  /** Stops the server if it runs, and keeps its output for the search for secrets. */
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
