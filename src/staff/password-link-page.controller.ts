import { Controller, Get, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Public } from '../platform/api/security.ts';
import { StaticPage } from '../platform/http/static-page.ts';
import { PASSWORD_LINK_PATH } from './password-link.service.ts';

/** The page of hand-over links, whose style sheet and icon this page shares. */
const HANDOVER = '../channel-user/handover/page';

/** Serves the page of password links. The link's secret is in the fragment, which browsers do not send. */
@Controller(PASSWORD_LINK_PATH)
@Public()
@ApiExcludeController()
export class PasswordLinkPageController {
  readonly #page = new StaticPage({
    'page.html': new URL('./page/page.html', import.meta.url),
    'page.js': new URL('./page/page.js', import.meta.url),
    'form.css': new URL('./page/form.css', import.meta.url),
    'page.css': new URL(`${HANDOVER}/page.css`, import.meta.url),
    'icon.svg': new URL(`${HANDOVER}/icon.svg`, import.meta.url),
  });

  @Get()
  page(@Res() reply: FastifyReply): void {
    this.#page.send(reply, 'page.html');
  }

  @Get('page.css')
  style(@Res() reply: FastifyReply): void {
    this.#page.send(reply, 'page.css');
  }

  @Get('form.css')
  formStyle(@Res() reply: FastifyReply): void {
    this.#page.send(reply, 'form.css');
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
