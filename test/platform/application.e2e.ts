import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Body, Controller, Get, HttpCode, Module, Post } from '@nestjs/common';
import { IsInt } from 'class-validator';
import {
  type Actor,
  AnyPartner,
  AuditModule,
  AuditService,
  CurrentActor,
  describedScope,
  Granted,
  ListBody,
  PartnerApi,
  Roles,
  Scopes,
  StaffApi,
} from '../../src/extend.ts';
import { loadMigrations } from '../../src/platform/database/migration-folders.ts';
import { type Answer, createTestApp, type PartnerWithToken, type TestApp } from '../kit.ts';
import { createDatabase } from '../support/database.ts';
import { secret } from '../support/secrets.ts';
import { ServerProcess } from '../support/server.ts';

const EXAMPLE = 'dist/examples/connectivity/application.js';

class Wave {
  @IsInt({ message: 'must be a whole number' })
  height!: number;
}

@Controller('waves')
@PartnerApi('Waves')
@Scopes('wave:read')
class WaveController {
  @Post('list')
  @HttpCode(200)
  @Scopes(describedScope('wave:make', 'Make waves.'), 'wave:count')
  list(@ListBody(Wave, { max: 3, unique: 'height' }) waves: Wave[]): object {
    return { waves, areWaves: waves.every((wave) => wave instanceof Wave) };
  }

  @Post('unheld')
  @HttpCode(200)
  unheld(@Body() waves: Wave[]): object {
    return waves;
  }

  @Post('one')
  @HttpCode(200)
  one(@Body() wave: Wave): object {
    return wave;
  }
}

@Controller('admin/waves')
@StaffApi('Waves')
class WaveStaffController {
  constructor(private readonly audit: AuditService) {}

  @Post()
  @Roles('operator')
  async record(
    @Body() body: { action: string; type: string; id: string },
    @CurrentActor() actor: Actor,
  ): Promise<string> {
    const { action, type, id } = body;
    await this.audit.transaction((manager) => {
      this.audit.record(manager, { actor, action, target: { type, id, name: 'W' } });
      return Promise.resolve();
    });
    return 'recorded';
  }
}

@Module({ imports: [AuditModule], controllers: [WaveController, WaveStaffController] })
class WaveModule {}

describe('a module', () => {
  let app: TestApp;
  let partner: PartnerWithToken;
  beforeAll(async () => {
    app = await createTestApp({ features: [WaveModule] });
    partner = await app.asPartner({ scopes: ['wave:read', 'wave:make', 'wave:count', 'wave:unknown'] });
  });
  afterAll(() => app.close());

  const call = (route: string, json: unknown): Promise<Answer> =>
    app.request('POST', `/waves/${route}`, { token: partner.token, json });

  it('accepts a list of DTOs and validates each', async () => {
    const waves = [{ height: 1 }, { height: 2 }];
    expect((await call('list', waves)).json()).toEqual({ waves, areWaves: true });
  });

  it.each([
    ['an object', { height: 1 }, ''],
    ['null', null, ''],
    ['a text', 'x', ''],
    ['an empty list', [], ''],
    ['four', [1, 2, 3, 4].map((height) => ({ height })), ''],
    ['one that breaks a rule', [{ height: 1 }, { height: 'x' }], '1.height'],
    ['one that lacks the field', [{ height: 1 }, {}], '1.height'],
    ['one with an unknown field', [{ height: 1, colour: 'blue' }], '0.colour'],
    ['the same twice', [{ height: 1 }, { height: 2 }, { height: 1 }], '2.height'],
    ['a list in the list', [[{ height: 1 }]], '0'],
    ['a hole', [null], '0'],
  ])('refuses %s in place of a list', async (_, json, field) => {
    const answer = await call('list', json);
    const { errors } = answer.json<{ errors?: { field: string }[] }>();
    expect([answer.status, errors?.map((error) => error.field)]).toEqual([400, [field]]);
  });

  it('reports the entry of a list that names an inherited property', async () => {
    const answer = await app.request('POST', '/waves/list', {
      token: partner.token,
      headers: { 'content-type': 'application/json' },
      body: '[{"height":1,"constructor":{"prototype":{}}}]',
    });
    expect(answer.status).toBe(400);
  });

  it('cannot declare a list without a rule for its entries', async () => {
    expect((await call('unheld', [{ height: 'x' }])).status).toBe(400);
    expect((await call('unheld', [])).status).toBe(400);
    expect((await call('one', [])).json()['errors']).toEqual([{ field: '', messages: ['must be a JSON object'] }]);
    expect((await call('one', { height: 1 })).json()).toEqual({ height: 1 });
  });

  it('declares its scopes on its routes', async () => {
    const { token } = await app.asStaff('viewer');
    const { items } = (await app.request('GET', '/admin/scopes', { token })).json<{
      items: { name: string; declared: boolean }[];
    }>();
    expect(items.filter(({ name }) => name.startsWith('wave:'))).toMatchObject([
      { name: 'wave:count', description: null, declared: true },
      { name: 'wave:make', description: 'Make waves.', declared: true },
      { name: 'wave:read', description: null, declared: true },
      // Its module may come later.
      { name: 'wave:unknown', description: null, declared: false },
    ]);
    const lacking = await app.asPartner({ scopes: ['wave:read', 'wave:make'] });
    const refused = await app.request('POST', '/waves/list', { token: lacking.token, json: [{ height: 1 }] });
    expect(refused.status).toBe(403);
    expect(refused.headers.get('www-authenticate')).toContain('scope="wave:make wave:count wave:read"');
  });

  it.each(['Wave', 'wave:', 'wave make', 'a:b:c', ''])('cannot declare %p as a scope', (name) => {
    expect(() => describedScope(name, 'No.')).toThrow('is not a scope');
  });

  it('has its resources in the audit trail under its own type', async () => {
    const { token } = await app.asStaff('operator');
    const id = randomUUID();
    const record = (json: object): Promise<Answer> => app.request('POST', '/admin/waves', { token, json });
    expect((await record({ action: 'wave.made', type: 'wave', id })).text).toBe('recorded');
    const trail = await app.request('GET', `/admin/audit-events?target=${id}`, { token });
    expect(trail.json()).toMatchObject({ items: [{ action: 'wave.made', target: { type: 'wave', id, name: 'W' } }] });
    for (const bad of [
      { action: 'wave.made', type: 'Wave', id },
      { action: 'wave.made', type: 'wave', id: '7' },
      { action: 'wave made', type: 'wave', id },
    ]) {
      expect((await record(bad)).status).toBe(500);
    }
  });
});

@Controller('tides')
@PartnerApi('Tides')
class TideController {
  @Get()
  forgotten(): string {
    return 'open to every partner';
  }

  @Get('of-nobody')
  @Scopes()
  ofNobody(): string {
    return 'open to every partner';
  }

  @Get('of-all')
  @AnyPartner()
  ofAll(): string {
    return 'fine';
  }

  @Get('roles')
  @AnyPartner()
  @Roles('viewer')
  roles(): string {
    return 'looks closed, and is open to every partner';
  }
}

@Controller('admin/tides')
@StaffApi('Tides')
class TideStaffController {
  @Get()
  forgotten(): string {
    return 'closed to everybody';
  }

  @Get(':tideId')
  @Roles('viewer')
  @Granted('tide', 'tideId')
  granted(): string {
    return 'always fails';
  }
}

@Module({ controllers: [TideController, TideStaffController] })
class TideModule {}

describe('a route without an access rule', () => {
  it('stops the start, with its name and what to add', async () => {
    const started = createTestApp({ features: [TideModule] });
    await expect(started).rejects.toThrow(
      [
        'Every route must declare who may call it:',
        'GET /tides (TideController): add @Scopes() with the scopes that a partner needs, @AnyPartner() if any partner token will do, or @Public().',
        'GET /tides/of-nobody (TideController): add @Scopes() with the scopes that a partner needs, @AnyPartner() if any partner token will do, or @Public().',
        'GET /tides/roles (TideController): @Roles() works under /admin only: for partners use @Scopes().',
        'GET /admin/tides (TideStaffController): add @Roles() with the lowest staff role that may call it, or @Public().',
        'GET /admin/tides/:tideId (TideStaffController): @Granted() works for partners only: remove it, or remove @Public() or the path /admin.',
      ].join('\n  '),
    );
  });
});

describe('an unexpected status in a test', () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await createTestApp({ features: [WaveModule] });
  });
  afterAll(() => app.close());

  it('is reported with the detail and the errors of the problem', async () => {
    const { token } = await app.asPartner({ scopes: ['wave:read', 'wave:make', 'wave:count'] });
    const refused = await app.request('POST', '/waves/list', { token, json: [{ height: 'x' }] });
    expect(() => refused.expect(200)).toThrow(
      /^POST \/waves\/list answered 400 instead of 200, with [\w.-]+: .+\n {2}0\.height: must be a whole number$/,
    );
    expect(refused.expect(400)).toBe(refused);
  });

  it('is reported with a question about the module for an unknown route', async () => {
    const absent = await app.request('GET', '/tides');
    expect(() => absent.expect(200)).toThrow(/answered 404 .*route\.not-found[^]*src\/app\.module\.ts/);
    const other = await app.request('GET', '/admin/channel-users', {});
    expect(() => other.expect(200)).toThrow(/answered 401/);
    expect(() => other.expect(200)).not.toThrow(/app\.module/);
  });

  it('is reported with the text of another answer', async () => {
    const answer = await app.request('POST', '/generateToken', { form: {} });
    expect(() => answer.expect(200)).toThrow('answered 400 instead of 200, with invalid username or password');
    expect(() => answer.json()).toThrow(
      'POST /generateToken answered 400, and not in JSON: invalid username or password',
    );
  });
});

describe('migrations of an application', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'latchkey-migrations-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const write = (file: string, name: string): Promise<void> =>
    writeFile(path.join(folder, file), `export class ${name} { name = '${name}'; async up() {} async down() {} }\n`);

  it('run in the order of their timestamps across folders', async () => {
    await write('1795550000000-between.js', 'Between1795550000000');
    await write('1700000000000-first.js', 'First1700000000000');
    await writeFile(path.join(folder, 'notes.md'), 'no migration');
    const core = new URL('../../migrations/', import.meta.url);
    const names = (await loadMigrations([core, pathToFileURL(`${folder}/`)])).map(({ name }) => name);
    expect(names.slice(0, 3)).toEqual(['First1700000000000', 'Initial1795500000000', 'Between1795550000000']);
  });

  it('are refused when two have the same timestamp', async () => {
    await write('1795500000000-other.js', 'Other1795500000000');
    const core = new URL('../../migrations/', import.meta.url);
    await expect(loadMigrations([core, pathToFileURL(`${folder}/`)])).rejects.toThrow(
      'Two migrations have one timestamp: 1795500000000-initial.ts, 1795500000000-other.js',
    );
  });
});

describe('an application outside of src', () => {
  let database: { url: string; drop: () => Promise<void> };
  let env: Record<string, string>;
  beforeAll(async () => {
    database = await createDatabase();
    env = {
      NODE_ENV: 'production',
      PORT: '0',
      OPS_PORT: '0',
      DATABASE_URL: database.url,
      PUBLIC_URL: 'https://latchkey.example',
      KEY_ENCRYPTION_KEY: secret(randomBytes(32).toString('base64')),
    };
  });
  afterAll(async () => {
    // Of a test that failed.
    await Promise.all([...running].map((server) => server.kill('SIGKILL')));
    await database.drop();
  });

  const running = new Set<ServerProcess>();
  const node = (...args: string[]): ServerProcess => {
    const server = new ServerProcess({ command: [process.execPath, ...args], env });
    running.add(server);
    void server.exited.then(() => running.delete(server));
    return server;
  };
  const serve = (...args: string[]): ServerProcess => node('dist/src/main.js', ...args);
  /** Its exit code, unless it serves. */
  const refusal = (server: ServerProcess): Promise<unknown> =>
    Promise.race([
      server.exited,
      server.listening().then(
        () => 'it serves',
        () => server.exited,
      ),
    ]);
  const health = async (server: ServerProcess): Promise<unknown> => {
    await server.listening();
    const answer = await fetch(`${server.line('Operations on ')}/health/ready`);
    return { http: answer.status, ...((await answer.json()) as object) };
  };

  it('starts after its migrations ran, and reports pending ones before', async () => {
    const early = serve('--application', EXAMPLE);
    expect(await refusal(early)).toBe(1);
    expect(early.stderr).toContain('pending migrations');

    const migrate = node('dist/src/cli.js', '--application', EXAMPLE, 'migrate', 'run');
    expect(await migrate.exited).toBe(0);
    expect(migrate.stdout).toContain('Connectivity1796100000000');

    const server = serve('--application', EXAMPLE);
    const url = await server.listening();
    expect(await health(server)).toMatchObject({ http: 200, details: { migrations: { state: 'current' } } });
    // Guarded, so it is there.
    expect((await fetch(`${url}/getRooms?propertyId=7`, { method: 'POST' })).status).toBe(401);
    expect(await server.kill('SIGTERM')).toBe(0);

    // Latchkey alone serves the same database: what it does not know is newer.
    const alone = serve();
    expect(await health(alone)).toMatchObject({ http: 200, details: { migrations: { state: 'newer' } } });
    expect((await fetch(`${await alone.listening()}/getRooms`, { method: 'POST' })).status).toBe(404);
    expect(await alone.kill('SIGTERM')).toBe(0);

    const revert = node('dist/src/cli.js', 'migrate', 'revert', '--application', EXAMPLE);
    expect(await revert.exited).toBe(0);
    const late = serve('--application', EXAMPLE);
    expect(await refusal(late)).toBe(1);
    expect(late.stderr).toContain('pending migrations');
  });

  it('is refused in a sentence when it is missing or invalid', async () => {
    const missing = serve('--application', 'dist/nowhere.js');
    expect(await refusal(missing)).toBe(1);
    expect(missing.stderr).toBe(
      'Latchkey did not start. There is no dist/nowhere.js. Build it first: npm run build.\n',
    );
    const folder = await mkdtemp(path.resolve('dist/wrong-import-'));
    const wrong = path.join(folder, 'application.js');
    await writeFile(wrong, "import '../common/errors.ts';\nexport default { features: [] };\n");
    const lost = serve('--application', wrong);
    expect(await refusal(lost)).toBe(1);
    expect(lost.stderr).toMatch(/^Latchkey did not start\. .*cannot be loaded: .* only from src\/extend\.ts, .*\n$/);
    await rm(folder, { recursive: true });
    const none = serve('--application', 'dist/src/server/exit.js');
    expect(await refusal(none)).toBe(1);
    expect(none.stderr).toBe(
      'Latchkey did not start. dist/src/server/exit.js must have an application as its default export: an object with features or migrations.\n',
    );
  });
});
