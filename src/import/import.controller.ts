import { Controller, Get, HttpCode, Logger, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiBody, ApiConsumes, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Readable } from 'node:stream';
import { ApiProblems, StaffPlane } from '../common/api.ts';
import type { Actor, RouteSettings } from '../common/request-context.ts';
import { CurrentActor, Roles } from '../common/security.ts';
import { Upload, UPLOAD_TYPES } from '../common/uploads.ts';
import { UuidPipe } from '../common/validation.ts';
import { ImportAnswer, ImportDto, ImportListDto, ImportQuery } from './import.dto.ts';
import { UnreadableFileError } from './import.errors.ts';
import { ImportLog } from './import-log.service.ts';
import { type FinishedImport, ImportService } from './import.service.ts';

const LIMITS = { maxBytes: 100_000_000, stallMs: 30_000 };
const PIECE_LENGTH = 16 * 1024;
const settings: RouteSettings = { body: UPLOAD_TYPES };

@Controller('admin/channel-users')
@StaffPlane('Import')
export class ImportController {
  readonly #logger = new Logger(ImportController.name);

  constructor(
    private readonly imports: ImportService,
    private readonly log: ImportLog,
  ) {}

  @Post('import')
  @Roles('operator')
  @HttpCode(200)
  @RouteConfig(settings)
  @ApiOperation({
    operationId: 'importChannelUsers',
    summary: 'Bring the partners of an older system over, with their passwords',
    description:
      'A line of names and a line for each partner (CSV, RFC 4180), or a JSON object a line, in UTF-8: what ' +
      '`POST /admin/channel-users` takes, and `password` or `passwordHash` or neither. In CSV, entries of a list are ' +
      'separated by spaces. At most 1000000 rows and 100000000 bytes. A connection that ends early means that the ' +
      'passwords in the rest of the answer are lost: `GET …/imports/{id}` says whether the rows were imported.',
  })
  @ApiConsumes(...UPLOAD_TYPES)
  @ApiBody({ schema: { type: 'string', example: 'username,displayName\r\nblue-channel,Blue Channel Manager\r\n' } })
  @ApiOkResponse({ type: ImportAnswer })
  @ApiProblems(400, 408, 409, 413, 415)
  async import(
    @Query() { id, dryRun, partial }: ImportQuery,
    @CurrentActor() actor: Actor,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Readable> {
    if (!(request.body instanceof Readable)) throw new UnreadableFileError('there is no file');
    request.server.uploads.begin(request);
    const gone = new AbortController();
    reply.raw.once('close', () => {
      gone.abort(new Error('The client has gone'));
    });
    const upload = new Upload(request.body, LIMITS);
    const isCsv = /^\s*text\/csv\b/i.test(request.headers['content-type'] ?? '');
    const options = {
      id: id?.toLowerCase(),
      format: isCsv ? 'csv' : 'ndjson',
      dryRun: dryRun === 'true',
      partial: partial === 'true',
    } as const;
    try {
      const finished = await this.imports.run(upload, options, actor, gone.signal);
      const body = Readable.from(answerOf(finished), { objectMode: false });
      body.once('close', () => void finished.release());
      body.once('error', (error) => {
        this.#logger.warn(`The answer to an import ended early: ${error.message}`);
      });
      void reply.type('application/json; charset=utf-8');
      return body;
    } catch (error) {
      await upload.discard();
      if (!request.raw.complete) void reply.header('connection', 'close');
      throw error;
    }
  }

  @Get('imports')
  @Roles('viewer')
  @ApiOperation({ operationId: 'listImports', summary: 'The last imports and how far they are, newest first' })
  @ApiOkResponse({ type: ImportListDto })
  async list(): Promise<ImportListDto> {
    return { items: await this.log.list() };
  }

  @Get('imports/:id')
  @Roles('viewer')
  @ApiOperation({ operationId: 'getImport', summary: 'How far an import is, or what became of it' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ImportDto })
  @ApiProblems(404)
  get(@Param('id', UuidPipe) id: string): Promise<ImportDto> {
    return this.log.get(id);
  }
}

/** One JSON document, however many passwords there are, in pieces that are worth sending. */
async function* answerOf(finished: FinishedImport): AsyncGenerator<string> {
  let piece = `${JSON.stringify(finished.summary).slice(0, -1)},"credentials":[`;
  let separator = '';
  for await (const credential of finished.credentials()) {
    piece += separator + JSON.stringify(credential);
    separator = ',';
    if (piece.length < PIECE_LENGTH) continue;
    yield piece;
    piece = '';
  }
  yield `${piece}]}`;
}
