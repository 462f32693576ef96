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

/** The names of the security schemes in the OpenAPI document. */
export const PARTNER_TOKEN = 'partnerToken';
export const CLIENT_SECRET = 'clientSecret';
export const STAFF_TOKEN = 'staffToken';
export const STAFF_COOKIE = 'staffCookie';
export const SERVICE_ACCOUNT_KEY = 'serviceAccountKey';

/** For the `limit` of a list's query. */
export const PageLimit = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({ minimum: 1, maximum: MAX_PAGE, default: DEFAULT_PAGE }),
    MayBeAbsent(),
    IsQueryInteger(1, MAX_PAGE),
  );

/** For the `cursor` of a list's query. */
export const PageCursor = (): PropertyDecorator =>
  applyDecorators(
    ApiPropertyOptional({ description: 'The `nextCursor` of the previous page.' }),
    MayBeAbsent(),
    IsPlainText(1, 1000),
  );

class FieldErrorDto {
  @ApiProperty({ example: 'scopes.0', description: 'Path of the field. Empty if the error concerns the whole body.' })
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

  @ApiProperty({
    example: 'channel-user.not-found',
    description: 'Stable code of the error, for programs to branch on.',
  })
  code!: string;

  @ApiProperty({ format: 'uuid', description: 'Same value as the X-Request-Id header.' })
  requestId!: string;

  @ApiPropertyOptional({ type: [FieldErrorDto] })
  errors?: FieldErrorDto[];
}

const DESCRIPTIONS: Record<number, string> = {
  400: 'The input is not valid. `errors` names the fields.',
  401: 'The token is missing or not valid.',
  403: 'Not allowed: role, scope, API or origin.',
  404: 'The resource does not exist.',
  408: 'The request took too long to arrive.',
  409: 'The request conflicts with the current state of the resource.',
  410: 'The link no longer works.',
  412: 'The version in If-Match is outdated.',
  413: 'The body is too large.',
  415: 'The media type of the body is not supported.',
  429: 'Too many attempts.',
  503: 'The database cannot answer. Retry after Retry-After seconds.',
};

const text = (description: string): object => ({ description, schema: { type: 'string' } });

const WWW_AUTHENTICATE = { 'WWW-Authenticate': text('Bearer challenge (RFC 6750 §3).') };
/** The header of an answer that is a file to download. */
export const ATTACHMENT = { 'Content-Disposition': text('`attachment` with the name of the file.') };
export const RETRY_AFTER = { 'Retry-After': { description: 'Seconds.', schema: { type: 'integer' } } };

/** The headers of an answer, as OpenAPI describes them. */
export function headersOf(status: number): Record<string, object> {
  return {
    'X-Request-Id': text('Identifies the request in the log.'),
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

/** A controller of the staff API (`/admin/*`): its tag, and what every route there may answer. */
export function StaffApi(tag: string, ...statuses: number[]): ClassDecorator {
  return applyDecorators(
    ApiTags(tag),
    ApiBearerAuth(STAFF_TOKEN),
    ApiCookieAuth(STAFF_COOKIE),
    ApiProblems(...new Set([401, 403, 503, ...statuses])),
  );
}

/** A controller of the partner API: its tag, and what every route there may answer. */
export function PartnerApi(tag: string, ...statuses: number[]): ClassDecorator {
  return applyDecorators(
    ApiTags(tag),
    ApiBearerAuth(PARTNER_TOKEN),
    ApiProblems(...new Set([401, 403, 503, ...statuses])),
  );
}
