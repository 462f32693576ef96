import type { INestApplicationContext } from '@nestjs/common';
import type { Command } from 'commander';
import type { Application } from '../application.ts';
import type { Actor } from '../platform/common/principal.ts';
import type { Config, EnvironmentConfig } from '../platform/config/config.ts';

export const CLI: Actor = { type: 'cli', id: null, name: 'cli', address: null, requestId: null };

/**
 * Gives commands the environment, the chosen application, its services and the database. It loads each only when a
 * command needs it.
 */
export class CliContext {
  /** @param program the program, whose option `--application` chooses the application */
  constructor(private readonly program: Command) {}

  async environment(): Promise<EnvironmentConfig> {
    const { loadConfig } = await import('../platform/config/config.ts');
    return loadConfig(process.env);
  }

  /** @throws ApplicationError */
  async application(): Promise<Application> {
    const { loadApplication } = await import('../application.ts');
    return loadApplication(this.program.opts<{ application?: string }>().application);
  }

  /** Runs a command with the application's services, on the database that the environment names. */
  async withServices(work: (context: INestApplicationContext) => Promise<void>): Promise<void> {
    const environment = await this.environment();
    const application = await this.application();
    const [{ NestFactory }, { pino }, { AppModule }, { createLogger, NestLogger }, { prepare }] = await Promise.all([
      import('@nestjs/core'),
      import('pino'),
      import('../app.module.ts'),
      import('../platform/common/logging.ts'),
      import('../server/startup.ts'),
    ]);
    const runtime = await prepare(environment, 'command', { migrations: application.migrations });
    try {
      const logger = createLogger('warn', pino.destination({ fd: 2, sync: true }));
      const context = await NestFactory.createApplicationContext(
        AppModule.for(runtime.config, application, 'command'),
        {
          logger: new NestLogger(logger),
          abortOnError: false,
        },
      );
      try {
        await work(context);
      } finally {
        await context.close();
      }
    } finally {
      await runtime.stop();
    }
  }

  /** Prepares the database without starting services, because those would begin a missing chain unnoticed. */
  async withConfig(work: (config: Config) => Promise<void>): Promise<void> {
    const environment = await this.environment();
    const { migrations } = await this.application();
    const { prepare } = await import('../server/startup.ts');
    const runtime = await prepare(environment, 'command', { migrations });
    try {
      await work(runtime.config);
    } finally {
      await runtime.stop();
    }
  }

  /** Runs a command that needs only the database. With DATABASE_URL, starts nothing. */
  async withDatabase(work: (url: string, folders: readonly URL[]) => Promise<void>): Promise<void> {
    const environment = await this.environment();
    const { MigrationFolders } = await import('../platform/database/migration-folders.ts');
    const folders = await new MigrationFolders((await this.application()).migrations).all();
    const direct = environment.databaseDirectUrl ?? environment.databaseUrl;
    if (direct !== undefined) return work(direct, folders);
    const { startEmbeddedPostgres } = await import('../platform/embedded-postgres/embedded-postgres.ts');
    const postgres = await startEmbeddedPostgres({ dataDir: environment.dataDir, mode: 'command' });
    try {
      await work(postgres.url, folders);
    } finally {
      await postgres.stop();
    }
  }
}
