import { Controller, Get, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Public } from '../../platform/api/security.ts';
import { StaticPage } from '../../platform/http/static-page.ts';

/** Path of the page, relative to the origin of the staff API. */
export const SIGNED_IN_PATH = 'console/signed-in';

/** The page at the end of a sign-in in a pop-up, which tells the console and closes itself. */
@Controller(SIGNED_IN_PATH)
@Public()
@ApiExcludeController()
export class SignedInPageController {
  readonly #page = new StaticPage({
    'page.html': new URL('./page/page.html', import.meta.url),
    'page.js': new URL('./page/page.js', import.meta.url),
  });

  @Get()
  page(@Res() reply: FastifyReply): void {
    this.#page.send(reply, 'page.html');
  }

  @Get('page.js')
  script(@Res() reply: FastifyReply): void {
    this.#page.send(reply, 'page.js');
  }
}
