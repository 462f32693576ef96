import { Controller, Get, Headers, Param, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Public } from '../platform/api/security.ts';
import { NoSuchPageError } from './console.errors.ts';
import { ConsoleService } from './console.service.ts';

/** Vite's file names, such as `index-BHnyC9Nd.js`. Excludes dot segments, encodings and folders. */
const ASSET = /^[\w-]+\.(js|css|svg)$/;

/**
 * Serves the staff console. Its files are public, since they hold no data: the page loads everything from `/admin` with
 * the reader's session.
 */
@Controller('console')
@Public()
@ApiExcludeController()
export class ConsoleController {
  constructor(private readonly console: ConsoleService) {}

  @Get('assets/:name')
  asset(@Param('name') name: string, @Res() reply: FastifyReply): void {
    if (!ASSET.test(name)) throw new NoSuchPageError();
    void reply.header('referrer-policy', 'no-referrer').sendFile(name);
  }

  /** Serves the page for every path below `/console`. The page itself routes them. */
  @Get(['', '*'])
  async page(@Headers('accept') accept: string | undefined, @Res() reply: FastifyReply): Promise<void> {
    if (accept !== undefined && !/text\/html|\*\/\*/.test(accept)) throw new NoSuchPageError();
    const { html, policy } = await this.console.page();
    await reply
      .headers({
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-cache',
        'content-security-policy': policy,
        'referrer-policy': 'no-referrer',
        'x-robots-tag': 'noindex',
      })
      .send(html);
  }
}
