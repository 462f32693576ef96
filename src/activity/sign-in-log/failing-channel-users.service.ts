import { Injectable } from '@nestjs/common';
import { CHANNEL_USER_IN_NOTICE } from '../../channel-user/expiry-notices.service.ts';
import { ListFilters } from '../../channel-user/list-filter.service.ts';
import { NoticeScanService } from '../../notice/notice-scan.service.ts';

const DAY_MS = 86_400_000;
/** Refusals without a token in between that make a notice. Somebody who mistypes a password causes fewer. */
const NOTICED_REFUSALS = 10;

/** Registers what other features show of the channel users that are refused and have not obtained a token since. */
@Injectable()
export class FailingChannelUsersService {
  constructor(filters: ListFilters, scan: NoticeScanService) {
    filters.register({
      parameter: 'failing',
      condition: 'channelUser.id IN (SELECT channel_user_id FROM sign_in_failure WHERE last_at > :failedSince)',
      values: (now) => ({ failedSince: new Date(now - DAY_MS) }),
    });
    // Suspended accounts are refused on purpose.
    scan.register({
      type: 'sign_in.failing',
      states: `
        SELECT account.id AS channel_user_id, failure.since,
          jsonb_build_object(${CHANNEL_USER_IN_NOTICE}, 'since', notice_time(failure.since),
            'lastAt', notice_time(failure.last_at), 'reason', failure.reason, 'refusals', failure.refusals) AS data
        FROM sign_in_failure AS failure JOIN channel_user AS account ON account.id = failure.channel_user_id
        WHERE failure.last_at > $1::timestamptz - interval '1 hour' AND account.suspended_at IS NULL
          AND failure.refusals >= ${String(NOTICED_REFUSALS)}`,
    });
  }
}
