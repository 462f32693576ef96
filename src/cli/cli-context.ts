import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { Command } from 'commander';
import { pino } from 'pino';
import { AppModule } from '../app.module.ts';
import { type Application, loadApplication } from '../application.ts';
import { createLogger, NestLogger } from '../platform/common/logging.ts';
import type { Actor } from '../platform/common/principal.ts';
import { type Config, type EnvironmentConfig, loadConfig } from '../platform/config/config.ts';
import { MigrationFolders } from '../platform/database/migration-folders.ts';
import { prepare } from '../server/startup.ts';

export const CLI: Actor = { type: 'cli', id: null, name: 'cli', address: null, requestId: null };

/** Gives commands the environment, the chosen application, its services and the database. */
export class CliContext {
  /** @param program the program, whose option `--application` chooses the application */
  constructor(private readonly program: Command) {}

  environment(): EnvironmentConfig {
    return loadConfig(process.env);
  }

  /** @throws ApplicationError */
  application(): Promise<Application> {
    return loadApplication(this.program.opts<{ application?: string }>().application);
  }

  /** Runs a command with the application's services, on the database that the environment names. */
  async withServices(work: (context: INestApplicationContext) => Promise<void>): Promise<void> {
    const environment = this.environment();
    const application = await this.application();
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
    const environment = this.environment();
    const { migrations } = await this.application();
    const runtime = await prepare(environment, 'command', { migrations });
    try {
      await work(runtime.config);
    } finally {
      await runtime.stop();
    }
  }

  /** Runs a command that needs only the database. With DATABASE_URL, starts nothing. */
  async withDatabase(work: (url: string, folders: readonly URL[]) => Promise<void>): Promise<void> {
    const environment = this.environment();
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
