import { Controller, Get, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { readFileSync } from 'node:fs';
import { Public } from '../common/security.ts';

/** Nothing from elsewhere, nothing inline, in nobody's frame; and the address of the page, its secret, goes nowhere. */
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-robots-tag': 'noindex',
  'x-content-type-options': 'nosniff',
};

const TYPES = {
  'page.html': 'text/html; charset=utf-8',
  'page.css': 'text/css; charset=utf-8',
  'page.js': 'text/javascript; charset=utf-8',
  'icon.svg': 'image/svg+xml',
};
type PageFile = keyof typeof TYPES;

/**
 * The page that a hand-over link opens. The same four files for everybody: which link it is stands in the fragment,
 * which no server sees, so that whoever only fetches the link uses nothing up.
 */
@Controller('handover')
@Public()
@ApiExcludeController()
export class HandoverPageController {
  readonly #files = new Map(
    Object.keys(TYPES).map((name) => [name, readFileSync(new URL(`./page/${name}`, import.meta.url), 'utf8')]),
  );

  @Get()
  page(@Res() reply: FastifyReply): void {
    this.#send(reply, 'page.html');
  }

  @Get('page.css')
  style(@Res() reply: FastifyReply): void {
    this.#send(reply, 'page.css');
  }

  @Get('page.js')
  script(@Res() reply: FastifyReply): void {
    this.#send(reply, 'page.js');
  }

  @Get('icon.svg')
  icon(@Res() reply: FastifyReply): void {
    this.#send(reply, 'icon.svg');
  }

  #send(reply: FastifyReply, name: PageFile): void {
    void reply.headers(HEADERS).type(TYPES[name]).send(this.#files.get(name));
  }
}
