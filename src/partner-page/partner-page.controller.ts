import { Controller, Get, Param, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Public } from '../platform/api/security.ts';
import { StaticPage } from '../platform/http/static-page.ts';
import { NoSuchPageFileError } from './partner-page.errors.ts';

/** Where the build puts this folder. Compiled server and sources find the same scripts. */
const BUILT = import.meta.filename.endsWith('.ts')
  ? path.join(import.meta.dirname, '../../dist/src/partner-page')
  : import.meta.dirname;
/** The page of hand-over links, whose style sheet and icon this page shares. */
const HANDOVER = path.join(import.meta.dirname, '../channel-user/handover/page');

/** The files of a built folder that browsers load, by their paths below `/partner`. */
const filesOf = (folder: string): [string, URL][] =>
  readdirSync(path.join(BUILT, folder))
    .filter((name) => /\.(js|css)$/.test(name))
    .map((name) => [`${folder}/${name}`, pathToFileURL(path.join(BUILT, folder, name))]);

/**
 * Serves the partner's page. Its files are public, since they hold no data: the page signs in at `/generateToken` like
 * any client, and reads the account from `/me`.
 */
@Controller('partner')
@Public()
@ApiExcludeController()
export class PartnerPageController {
  readonly #page = new StaticPage({
    ...Object.fromEntries([...filesOf('page'), ...filesOf('words')]),
    'page.html': pathToFileURL(path.join(BUILT, 'page/page.html')),
    'page/base.css': pathToFileURL(path.join(HANDOVER, 'page.css')),
    'page/icon.svg': pathToFileURL(path.join(HANDOVER, 'icon.svg')),
  });

  @Get()
  page(@Res() reply: FastifyReply): void {
    this.#page.send(reply, 'page.html');
  }

  @Get('page/:name')
  file(@Param('name') name: string, @Res() reply: FastifyReply): void {
    this.#send(reply, `page/${name}`);
  }

  @Get('words/:name')
  words(@Param('name') name: string, @Res() reply: FastifyReply): void {
    this.#send(reply, `words/${name}`);
  }

  #send(reply: FastifyReply, name: string): void {
    if (!this.#page.has(name)) throw new NoSuchPageFileError();
    this.#page.send(reply, name);
  }
}
