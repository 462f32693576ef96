import { Injectable } from '@nestjs/common';
import { AuditQueryService, type ReadableEvent } from '../../audit/audit-query.service.ts';
import { ChannelUserNotFoundError } from '../../channel-user/model/channel-user.errors.ts';
import { ChannelUserService } from '../../channel-user/channel-user.service.ts';
import { isUuid } from '../../platform/common/uuid.ts';
import { Config } from '../../platform/config/config.ts';
import type { ActivityDto, OwnActivityDto } from '../sign-in-log/sign-in-log.dto.ts';
import { SignInLogService } from '../sign-in-log/sign-in-log.service.ts';
import { toOwnDto } from '../sign-in-log/sign-in-words.ts';
import type { CallErrorDto } from './calls.dto.ts';
import { CallsService, KEEP_ERRORS_DAYS } from './calls.service.ts';
import type { RequestRecordDto, StaffRequestRecordDto } from './request-lookup.dto.ts';
import { InvalidRequestIdError, RequestNotRecordedError } from './request-lookup.errors.ts';

const MAX_EVENTS = 50;

/** Finds what became of a request by its id. */
@Injectable()
export class RequestLookupService {
  constructor(
    private readonly signIns: SignInLogService,
    private readonly calls: CallsService,
    private readonly audit: AuditQueryService,
    private readonly channelUsers: ChannelUserService,
    private readonly config: Config,
  ) {}

  /**
   * A request of a channel user, as that user sees it.
   *
   * @throws InvalidRequestIdError
   * @throws RequestNotRecordedError also for a request of another channel user
   */
  async own(text: string, channelUserId: string): Promise<RequestRecordDto> {
    const requestId = requestIdOf(text);
    const [signIn, call] = await Promise.all([
      this.signIns.ofRequest(requestId, channelUserId),
      this.calls.ofRequest(requestId, channelUserId),
    ]);
    return recordOf(requestId, signIn?.attempt, call?.call) ?? this.#notRecorded();
  }

  /**
   * Any request, as staff see it: also what it changed.
   *
   * @throws InvalidRequestIdError, RequestNotRecordedError
   */
  async any(text: string): Promise<StaffRequestRecordDto> {
    const requestId = requestIdOf(text);
    const [signIn, call, events] = await Promise.all([
      this.signIns.ofRequest(requestId),
      this.calls.ofRequest(requestId),
      this.audit.ofRequest(requestId, MAX_EVENTS),
    ]);
    const record =
      recordOf(requestId, signIn?.attempt, call?.call) ?? changeOf(requestId, events) ?? this.#notRecorded();
    const owner = signIn?.channelUserId ?? call?.channelUserId ?? actingPartnerOf(events);
    return { ...record, channelUser: owner === undefined ? null : await this.#ownerOf(owner), events };
  }

  async #ownerOf(channelUserId: string): Promise<StaffRequestRecordDto['channelUser']> {
    try {
      const { id, username, displayName } = await this.channelUsers.get(channelUserId);
      return { id, username, displayName };
    } catch (error) {
      if (error instanceof ChannelUserNotFoundError) return null;
      throw error;
    }
  }

  #notRecorded(): never {
    throw new RequestNotRecordedError({ signIns: this.config.activityRetentionDays, errors: KEEP_ERRORS_DAYS });
  }
}

/** A request id as somebody pasted it. */
function requestIdOf(text: string): string {
  const id = text.trim().toLowerCase();
  if (!isUuid(id)) throw new InvalidRequestIdError();
  return id;
}

/** The channel user that made a change itself. Its successful call has no record of its own. */
const actingPartnerOf = (events: readonly ReadableEvent[]): string | undefined =>
  events.find(({ actor }) => actor.type === 'channel-user')?.actor.id ?? undefined;

function recordOf(
  requestId: string,
  attempt: ActivityDto | undefined,
  call: CallErrorDto | undefined,
): RequestRecordDto | undefined {
  // A call that checks a password is recorded as both. Its own record says more.
  if (!call) return attempt && { requestId, ...signInRecord(toOwnDto(attempt)), call: null };
  const { at, method, route, status, title, code, reason, hint } = call;
  const answered = `${String(status)} ${title}${code === null ? '' : `, ${code}`}`;
  return { requestId, kind: 'call', at, asked: `${method} ${route}`, answered, reason, hint, signIn: null, call };
}

function signInRecord(signIn: OwnActivityDto): Omit<RequestRecordDto, 'requestId' | 'call'> {
  const { at, address, errorCode, reason, hint } = signIn;
  return {
    kind: 'sign-in',
    at,
    asked: address === null ? 'A token' : `A token, from ${address}`,
    answered: errorCode === null ? 'A token' : `A refusal, ${errorCode}`,
    reason,
    hint,
    signIn,
  };
}

function changeOf(requestId: string, events: readonly ReadableEvent[]): RequestRecordDto | undefined {
  const [first] = events;
  if (!first) return undefined;
  const asked = [...new Set(events.map(({ action }) => action))].join(', ');
  const answered = 'The change was made';
  return {
    requestId,
    kind: 'change',
    at: first.at,
    asked,
    answered,
    reason: null,
    hint: null,
    signIn: null,
    call: null,
  };
}
