/**
 * Everything of Latchkey that a module may use, and the only file of `src` that one outside of it may import. What it
 * is for is told in docs/extending.md; what a module needs besides comes from the packages themselves (`@nestjs/*`,
 * `class-validator`, `typeorm`).
 */
export type { Application } from './application.ts';

// Who may call what.
export {
  CurrentActor,
  CurrentChannelUser,
  CurrentStaff,
  describedScope,
  Granted,
  Public,
  Roles,
  Scopes,
} from './common/security.ts';
export type {
  Actor,
  CurrentChannelUser as ChannelUserPrincipal,
  CurrentStaff as StaffPrincipal,
  Role,
} from './common/request-context.ts';
export { GrantModule } from './grant/grant.module.ts';
export { GrantService } from './grant/grant.service.ts';

// Input: rules, lists, pages.
export {
  IsDateTime,
  IsEmailAddress,
  IsPlainText,
  IsQueryInteger,
  MayBeAbsent,
  MayBeNull,
  UuidPipe,
} from './common/validation.ts';
export { ListBody } from './common/list-body.ts';
export {
  type CursorKey,
  decodeCursor,
  DEFAULT_PAGE,
  encodeCursor,
  isTimestamp,
  isUuid,
  type Page,
  pageOf,
} from './common/page.ts';

// Answers: errors and documentation.
export {
  AppError,
  type FieldError,
  InvalidInputError,
  type PublicError,
  ResourceNotFoundError,
  UnavailableError,
} from './common/errors.ts';
export { uniqueViolation } from './common/postgres-errors.ts';
export { ApiProblems, PageCursor, PageLimit, PartnerPlane, StaffPlane } from './common/api.ts';

// Changes and time.
export { AuditModule } from './audit/audit.module.ts';
export { AuditService, type AuditRecord, type Changes, changesBetween } from './audit/audit.service.ts';
export { Clock } from './common/clock.ts';
