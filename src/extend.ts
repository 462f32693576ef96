/**
 * The parts of Latchkey that a module may use, as docs/extending.md shows. A module outside of `src` imports only this
 * file of `src`. Everything else comes from the packages themselves (`@nestjs/*`, `class-validator`, `typeorm`).
 */
export type { Application } from './application.ts';
export type { Demo, DemoCall } from './quickstart/demo.ts';

// Access rules.
export {
  AnyPartner,
  CallerRole,
  CurrentActor,
  CurrentChannelUser,
  CurrentStaff,
  describedScope,
  Granted,
  OpenToServiceAccounts,
  Public,
  Roles,
  Scopes,
} from './platform/api/security.ts';
export type {
  Actor,
  CurrentChannelUser as ChannelUserPrincipal,
  CurrentStaff as StaffPrincipal,
  Role,
} from './platform/common/principal.ts';
export { GrantModule } from './channel-user/grant/grant.module.ts';
export { GrantService } from './channel-user/grant/grant.service.ts';

// Input: rules, lists, pages.
export {
  IsDateTime,
  IsEmailAddress,
  IsName,
  IsPlainText,
  IsQueryInteger,
  MayBeAbsent,
  MayBeNull,
  tidied,
  UuidPipe,
} from './platform/api/validation.ts';
export { ListBody } from './platform/api/list-body.ts';
export {
  type CursorKey,
  decodeCursor,
  DEFAULT_PAGE,
  encodeCursor,
  isTimestamp,
  type Page,
  pageOf,
} from './platform/api/page.ts';
export { isUuid } from './platform/common/uuid.ts';

// Answers: errors and documentation.
export {
  AppError,
  type FieldError,
  InvalidInputError,
  type PublicError,
  ResourceNotFoundError,
  UnavailableError,
} from './platform/common/errors.ts';
export { uniqueViolation } from './platform/common/postgres-errors.ts';
export { ApiProblems, PageCursor, PageLimit, PartnerApi, StaffApi } from './platform/api/openapi.decorators.ts';

// Changes and time.
export { AuditModule } from './audit/audit.module.ts';
export { AuditService, type AuditRecord, type Changes, changesBetween } from './audit/audit.service.ts';
export { Clock } from './platform/common/clock.ts';
