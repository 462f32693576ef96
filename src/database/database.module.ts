import { Global, Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Config } from '../config/config.ts';
import { ChangeFeed } from './change-feed.service.ts';
import { connect, dataSourceOptions } from './data-source.ts';

/** The one DataSource, and the feed of what changes. Features add their entities with `TypeOrmModule.forFeature()`. */
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
export class DatabaseModule {}
