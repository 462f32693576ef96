import { Controller, Get, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Public } from '../../platform/api/security.ts';
import { StaticPage } from '../../platform/http/static-page.ts';

const FILES = ['page.html', 'page.css', 'page.js', 'icon.svg'];

/**
 * Serves the page of hand-over links, the same four files for every link. The link's secret is in the fragment, which
 * browsers do not send, so that merely fetching a link does not use it up.
 */
@Controller('handover')
@Public()
@ApiExcludeController()
export class HandoverPageController {
  readonly #page = new StaticPage(
    Object.fromEntries(FILES.map((name) => [name, new URL(`./page/${name}`, import.meta.url)])),
  );

  @Get()
  page(@Res() reply: FastifyReply): void {
    this.#page.send(reply, 'page.html');
  }

  @Get('page.css')
  style(@Res() reply: FastifyReply): void {
    this.#page.send(reply, 'page.css');
  }

  @Get('page.js')
  script(@Res() reply: FastifyReply): void {
    this.#page.send(reply, 'page.js');
  }

  @Get('icon.svg')
  icon(@Res() reply: FastifyReply): void {
    this.#page.send(reply, 'icon.svg');
  }
}
