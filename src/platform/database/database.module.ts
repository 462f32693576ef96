import { type DynamicModule, Global, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Config } from '../config/config.ts';
import { ChangeFeed } from './change-feed.service.ts';
import { connect, dataSourceOptions } from './data-source.ts';
import { MigrationFolders } from './migration-folders.ts';

/** The only DataSource, and the change feed. Features add their entities with `TypeOrmModule.forFeature()`. */
@Global()
@Module({
  imports: [
    TypeOrmModule.forRootAsync({
      inject: [Config],
      useFactory: ({ databaseUrl, databaseDirectUrl, databasePoolSize }: Config) => ({
        ...dataSourceOptions(databaseUrl, databasePoolSize, databaseDirectUrl === undefined ? 'connection' : 'role'),
        autoLoadEntities: true,
        retryAttempts: 0,
      }),
      dataSourceFactory: (options) => {
        if (!options) throw new Error('The factory above makes options');
        return connect(options);
      },
    }),
  ],
  providers: [ChangeFeed],
  exports: [ChangeFeed],
})
export class DatabaseModule {
  /** @param migrations folders of migrations besides Latchkey's own */
  static for(migrations: readonly URL[]): DynamicModule {
    const folders = { provide: MigrationFolders, useValue: new MigrationFolders(migrations) };
    return { module: DatabaseModule, providers: [folders], exports: [folders] };
  }
}
