import { fastifyStatic } from '@fastify/static';
import { Module, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyInstance } from 'fastify';
import { ConsoleController } from './console.controller.ts';
import { ASSETS, ConsoleService } from './console.service.ts';

@Module({ controllers: [ConsoleController], providers: [ConsoleService] })
export class ConsoleModule implements OnModuleInit {
  constructor(private readonly host: HttpAdapterHost) {}

  /**
   * Adds `reply.sendFile()` for the controller, without serving any path. Not awaited: awaiting a plugin starts Fastify
   * too early, and routes would keep Fastify's own error handler for unparsable bodies. If the plugin cannot be loaded,
   * the application does not start.
   */
  onModuleInit(): void {
    // The command line has no HTTP adapter.
    const adapter = this.host.httpAdapter as HttpAdapterHost['httpAdapter'] | null;
    void adapter?.getInstance<FastifyInstance>().register(fastifyStatic, {
      root: ASSETS,
      serve: false,
      preCompressed: true,
      // A file's name changes with its content.
      immutable: true,
      maxAge: '365d',
      // The folder does not exist until the console is built.
      suppressWarning: true,
    });
  }
}
