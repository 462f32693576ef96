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
   * Gives the controller `reply.sendFile()`; it serves no path by itself. Not awaited: to wait for a plugin is to start
   * Fastify, and the routes would keep its own error handler for bodies that it cannot parse. Whether it loads, the
   * start of the application finds out.
   */
  onModuleInit(): void {
    // There is none in the command line, which serves nothing.
    const adapter = this.host.httpAdapter as HttpAdapterHost['httpAdapter'] | null;
    void adapter?.getInstance<FastifyInstance>().register(fastifyStatic, {
      root: ASSETS,
      serve: false,
      preCompressed: true,
      // Their names change with their content.
      immutable: true,
      maxAge: '365d',
      // The folder appears when the console is built.
      suppressWarning: true,
    });
  }
}
