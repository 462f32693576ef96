import { Controller, Get, Headers, Param, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Public } from '../common/security.ts';
import { NoSuchPageError } from './console.errors.ts';
import { ConsoleService } from './console.service.ts';

/** What Vite names after its content, as in `index-BHnyC9Nd.js`: no dot segments, no encodings, no folders. */
const ASSET = /^[\w-]+\.(js|css|svg)$/;

/**
 * The staff console: files for everybody, since all that they show is asked of `/admin` with the session of whoever
 * looks at them.
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

  /** The application's own paths all give the page, which knows them. */
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
