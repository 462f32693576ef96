import { Controller, Delete, Get, HttpCode, Logger, Param, Post, Query, Req, Res } from '@nestjs/common';
import {
  ApiBody,
  ApiConsumes,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiParam,
  ApiProduces,
} from '@nestjs/swagger';
import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Readable } from 'node:stream';
import { ApiProblems, ATTACHMENT, StaffApi } from '../../platform/api/openapi.decorators.ts';
import type { Actor } from '../../platform/common/principal.ts';
import type { RouteSettings } from '../../platform/http/fastify-types.ts';
import { CurrentActor, OpenToServiceAccounts, Roles } from '../../platform/api/security.ts';
import { Upload, UPLOAD_TYPES } from '../../platform/http/uploads.ts';
import { UuidPipe } from '../../platform/api/validation.ts';
import { ImportResultDto, ImportDto, ImportListDto, ImportQuery } from './import.dto.ts';
import { UnreadableFileError } from './import.errors.ts';
import { ImportLimits } from './import-limits.ts';
import { ImportLog } from './import-log.service.ts';
import { type FinishedImport, ImportService } from './import.service.ts';
import { TEMPLATE } from './template.ts';

const MAX_READ_MS = 3_600_000;
const PIECE_LENGTH = 16 * 1024;
const settings: RouteSettings = { body: UPLOAD_TYPES };

@Controller('admin/channel-users')
@StaffApi('Import')
@OpenToServiceAccounts()
export class ImportController {
  readonly #logger = new Logger(ImportController.name);

  constructor(
    private readonly imports: ImportService,
    private readonly log: ImportLog,
    private readonly limits: ImportLimits,
  ) {}

  @Post('import')
  @Roles('operator')
  @HttpCode(200)
  @RouteConfig(settings)
  @ApiOperation({
    operationId: 'importChannelUsers',
    summary: 'Import the partners of an older system, with their passwords',
    description:
      'CSV (RFC 4180) with a header line, or NDJSON with one JSON object a line, in UTF-8. Each row has the ' +
      'fields of `POST /admin/channel-users` and optionally `password` or `passwordHash`. In CSV, entries of a ' +
      'list are separated by spaces. At most 1000000 rows and 100000000 bytes. If the connection ends early, the ' +
      'passwords in the rest of the response are lost; `GET …/imports/{id}` says whether the rows were imported.',
  })
  @ApiConsumes(...UPLOAD_TYPES)
  @ApiBody({ schema: { type: 'string', example: 'username,displayName\r\nblue-channel,Blue Channel Manager\r\n' } })
  @ApiOkResponse({ type: ImportResultDto })
  @ApiProblems(400, 408, 409, 413, 415)
  async import(
    @Query() { id, dryRun, partial, deliver, linkTtlSeconds }: ImportQuery,
    @CurrentActor() actor: Actor,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Readable> {
    if (!(request.body instanceof Readable))
      throw new UnreadableFileError('the request has no body; send the file as the body');
    request.server.uploads.begin(request);
    const gone = new AbortController();
    reply.raw.once('close', () => {
      gone.abort(new Error('The client has disconnected'));
    });
    const upload = new Upload(request.body, this.limits);
    const isCsv = /^\s*text\/csv\b/i.test(request.headers['content-type'] ?? '');
    const options = {
      id: id?.toLowerCase(),
      format: isCsv ? 'csv' : 'ndjson',
      dryRun: dryRun === 'true',
      partial: partial === 'true',
      ...(deliver === 'link' && { links: { ttlSeconds: linkTtlSeconds } }),
      maxReadMs: MAX_READ_MS,
      confirm: request.confirmStaff,
    } as const;
    try {
      const finished = await this.imports.run(upload, options, actor, gone.signal);
      const body = Readable.from(answerOf(finished), { objectMode: false });
      body.once('close', () => void finished.release());
      body.once('error', (error) => {
        this.#logger.warn(`The response to an import ended early: ${error.message}`);
      });
      void reply.type('application/json; charset=utf-8');
      return body;
    } catch (error) {
      await upload.discard();
      if (!request.raw.complete) void reply.header('connection', 'close');
      throw error;
    }
  }

  @Get('import/template')
  @Roles('viewer')
  @ApiOperation({ operationId: 'getImportTemplate', summary: 'Download a CSV template with all column names' })
  @ApiProduces('text/csv')
  @ApiOkResponse({ schema: { type: 'string' }, headers: ATTACHMENT })
  template(@Res({ passthrough: true }) reply: FastifyReply): string {
    void reply.type('text/csv; charset=utf-8').header('content-disposition', 'attachment; filename="partners.csv"');
    return TEMPLATE;
  }

  @Get('imports')
  @Roles('viewer')
  @ApiOperation({ operationId: 'listImports', summary: 'List recent imports and their progress, newest first' })
  @ApiOkResponse({ type: ImportListDto })
  async list(): Promise<ImportListDto> {
    return { items: await this.log.list() };
  }

  @Get('imports/:id')
  @Roles('viewer')
  @ApiOperation({ operationId: 'getImport', summary: 'Show the progress or the result of an import' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ImportDto })
  @ApiProblems(404)
  get(@Param('id', UuidPipe) id: string): Promise<ImportDto> {
    return this.log.get(id);
  }

  @Delete('imports/:id')
  @Roles('admin')
  @HttpCode(204)
  @ApiOperation({
    operationId: 'endImport',
    summary: 'Cancel a running import on any instance; nothing of it is imported',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404, 409)
  end(@Param('id', UuidPipe) id: string, @CurrentActor() actor: Actor): Promise<void> {
    return this.log.end(id, actor);
  }
}

/** The answer as one JSON document, in pieces that are large enough to send. */
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
