import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Body, Controller, HttpCode, Module, Post } from '@nestjs/common';
import { IsInt } from 'class-validator';
import {
  type Actor,
  AuditModule,
  AuditService,
  CurrentActor,
  describedScope,
  ListBody,
  PartnerPlane,
  Roles,
  Scopes,
  StaffPlane,
} from '../src/extend.ts';
import { loadMigrations } from '../src/database/migration-folders.ts';
import { type Answer, createTestApp, type PartnerWithToken, type TestApp } from './kit.ts';
import { createDatabase } from './support/database.ts';
import { secret } from './support/secrets.ts';
import { ServerProcess } from './support/server.ts';

const EXAMPLE = 'dist/examples/connectivity/application.js';

class Wave {
  @IsInt({ message: 'must be a whole number' })
  height!: number;
}

@Controller('waves')
@PartnerPlane('Waves')
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
@StaffPlane('Waves')
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

  it('takes a list of DTOs, held to their rules', async () => {
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

  it('is told where a list names what objects inherit', async () => {
    const answer = await app.request('POST', '/waves/list', {
      token: partner.token,
      headers: { 'content-type': 'application/json' },
      body: '[{"height":1,"constructor":{"prototype":{}}}]',
    });
    expect(answer.status).toBe(400);
  });

  it('cannot take a list without a rule for its entries by mistake', async () => {
    expect((await call('unheld', [{ height: 'x' }])).status).toBe(400);
    expect((await call('unheld', [])).status).toBe(400);
    expect((await call('one', [])).json()['errors']).toEqual([{ field: '', messages: ['must be a JSON object'] }]);
    expect((await call('one', { height: 1 })).json()).toEqual({ height: 1 });
  });

  it('declares its scopes where it asks for them', async () => {
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

  it('has its resources in the audit trail under its own name', async () => {
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

describe('migrations', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'latchkey-migrations-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const write = (file: string, name: string): Promise<void> =>
    writeFile(path.join(folder, file), `export class ${name} { name = '${name}'; async up() {} async down() {} }\n`);

  it('of several folders are in the order of their timestamps, whatever else is there', async () => {
    await write('1795550000000-between.js', 'Between1795550000000');
    await write('1700000000000-first.js', 'First1700000000000');
    await writeFile(path.join(folder, 'notes.md'), 'no migration');
    const core = new URL('../migrations/', import.meta.url);
    const names = (await loadMigrations([core, pathToFileURL(`${folder}/`)])).map(({ name }) => name);
    expect(names.slice(0, 3)).toEqual(['First1700000000000', 'Initial1795500000000', 'Between1795550000000']);
  });

  it('that have one timestamp are refused', async () => {
    await write('1795500000000-other.js', 'Other1795500000000');
    const core = new URL('../migrations/', import.meta.url);
    await expect(loadMigrations([core, pathToFileURL(`${folder}/`)])).rejects.toThrow(
      'Two migrations have one timestamp: 1795500000000-initial.ts, 1795500000000-other.js',
    );
  });
});

describe('an application that stands outside of src', () => {
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

  it('starts with its migrations run, and says what is missing before', async () => {
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
  }, 120_000);

  it('that is not there, or is none, is told in a sentence', async () => {
    const missing = serve('--application', 'dist/nowhere.js');
    expect(await refusal(missing)).toBe(1);
    expect(missing.stderr).toBe('Latchkey did not start. There is no dist/nowhere.js: it is made by the build.\n');
    const none = serve('--application', 'dist/src/exit.js');
    expect(await refusal(none)).toBe(1);
    expect(none.stderr).toBe(
      'Latchkey did not start. dist/src/exit.js does not export an application as its default.\n',
    );
  }, 60_000);
});
