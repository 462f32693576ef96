import { applyDecorators } from '@nestjs/common';
import {
  ApiBearerAuth,
  ApiCookieAuth,
  ApiExtraModels,
  ApiProperty,
  ApiPropertyOptional,
  ApiResponse,
  ApiTags,
  getSchemaPath,
} from '@nestjs/swagger';
import { DEFAULT_PAGE, MAX_PAGE } from './page.ts';
import { IsPlainText, IsQueryInteger, MayBeAbsent } from './validation.ts';

/** How OpenAPI names the ways to authenticate. */
export const PARTNER_TOKEN = 'partnerToken';
export const CLIENT_SECRET = 'clientSecret';
export const STAFF_TOKEN = 'staffToken';
export const STAFF_COOKIE = 'staffCookie';

/** On the `limit` of a list's query. */
export const PageLimit = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({ minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PAGE }),
    MayBeAbsent(),
    IsQueryInteger(1, MAX_PAGE),
  );

/** On the `cursor` of a list's query. */
export const PageCursor = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({ description: 'The `nextCursor` of the page before.' }),
    MayBeAbsent(),
    IsPlainText(1, 1000),
  );

class FieldErrorDto {
  @ApiProperty({ example: 'scopes.0', description: 'Path of the field; empty for the body as a whole.' })
  field!: string;

  @ApiProperty({ type: [String] })
  messages!: string[];
}

/** RFC 9457 problem details. */
class ProblemDto {
  @ApiProperty({ example: 'urn:latchkey:problem:channel-user.not-found' })
  type!: string;

  @ApiProperty({ example: 'Not Found' })
  title!: string;

  @ApiProperty({ example: 404 })
  status!: number;

  @ApiProperty({ example: 'There is no such channel user.' })
  detail!: string;

  @ApiProperty({ example: 'channel-user.not-found', description: 'Stable: branch on this.' })
  code!: string;

  @ApiProperty({ format: 'uuid', description: 'The same as the X-Request-Id header.' })
  requestId!: string;

  @ApiPropertyOptional({ type: [FieldErrorDto] })
  errors?: FieldErrorDto[];
}

const DESCRIPTIONS: Record<number, string> = {
  400: 'The input is not valid; `errors` says which fields.',
  401: 'No valid token.',
  403: 'Not allowed: role, scope, plane or origin.',
  404: 'There is no such resource.',
  408: 'It took too long to arrive.',
  409: 'Conflicts with what is there.',
  410: 'It works no longer.',
  412: 'The version in If-Match is outdated.',
  413: 'The body is too large.',
  415: 'The body has another media type.',
  429: 'Too many attempts.',
  503: 'The database cannot answer; try again after Retry-After seconds.',
};

const text = (description: string): object => ({ description, schema: { type: 'string' } });

const WWW_AUTHENTICATE = { 'WWW-Authenticate': text('RFC 6750 §3.') };
/** Of a file to download. */
export const ATTACHMENT = { 'Content-Disposition': text('`attachment`, with the name of the file.') };
export const RETRY_AFTER = { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } };

/** The headers of an answer, as OpenAPI describes them. */
export function headersOf(status: number): Record<string, object> {
  return {
    'X-Request-Id': text('Names this request in the log.'),
    ...(status === 401 && WWW_AUTHENTICATE),
    ...((status === 429 || status === 503) && RETRY_AFTER),
  };
}

/** Documents problem answers of a route or controller. */
export function ApiProblems(...statuses: number[]): MethodDecorator & ClassDecorator {
  return applyDecorators(
    ApiExtraModels(ProblemDto),
    ...statuses.map((status) =>
      ApiResponse({
        status,
        description: DESCRIPTIONS[status] ?? 'Refused.',
        headers: headersOf(status),
        content: { 'application/problem+json': { schema: { $ref: getSchemaPath(ProblemDto) } } },
      }),
    ),
  );
}

/** A controller of the staff plane (`/admin/*`). Says what every route there may answer. */
export function StaffPlane(tag: string, ...statuses: number[]): ClassDecorator {
  return applyDecorators(
    ApiTags(tag),
    ApiBearerAuth(STAFF_TOKEN),
    ApiCookieAuth(STAFF_COOKIE),
    ApiProblems(...new Set([401, 403, 503, ...statuses])),
  );
}

/** A controller of the partner plane. */
export function PartnerPlane(tag: string, ...statuses: number[]): ClassDecorator {
  return applyDecorators(
    ApiTags(tag),
    ApiBearerAuth(PARTNER_TOKEN),
    ApiProblems(...new Set([401, 403, 503, ...statuses])),
  );
}
