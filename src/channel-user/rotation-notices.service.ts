import { Injectable } from '@nestjs/common';
import { NoticeScanService } from '../notice/notice-scan.service.ts';
import { CHANNEL_USER_IN_NOTICE } from './expiry-notices.service.ts';
import { hasEndedUnopened } from './handover/handover-row.ts';
import { PENDING_DAYS } from './model/credential.entity.ts';

/** Days after its creation at which staff are reminded of a pending credential, the last first. */
const REMINDER_DAYS = [14, 7, 3];
const FIRST_REMINDER_DAYS = Math.min(...REMINDER_DAYS);
/** Days in which an end gets its notice, however long no instance ran. */
const ENDED_DAYS = 2;

/** SQL for the credential in a notice's `data`, as arguments of jsonb_build_object on the alias `credential`. */
const CREDENTIAL_IN_NOTICE = `'credential', jsonb_build_object(
  'id', credential.id, 'fingerprint', fingerprint, 'expiresAt', notice_time(credential.expires_at))`;

const daysAgo = (days: number): string => `$1::timestamptz - ${String(days)} * interval '1 day'`;

/** Has notices made of rotations: reminders of a pending one, and the end of the passwords that one has replaced. */
@Injectable()
export class RotationNoticesService {
  constructor(scan: NoticeScanService) {
    const days = REMINDER_DAYS.map((day) => `WHEN credential.created_at <= ${daysAgo(day)} THEN ${String(day)}`);
    scan.register({
      type: 'credential.rotation_pending',
      occurrences: `
        SELECT id, days AS key, channel_user_id, data || jsonb_build_object('pendingDays', days) AS data
        FROM (
          SELECT credential.id, channel_user_id, CASE ${days.join(' ')} END AS days, jsonb_build_object(
            ${CHANNEL_USER_IN_NOTICE}, ${CREDENTIAL_IN_NOTICE}, 'pendingSince', notice_time(credential.created_at)) AS data
          FROM credential JOIN channel_user AS account ON account.id = channel_user_id
          WHERE pending AND revoked_at IS NULL
            AND (credential.expires_at IS NULL OR credential.expires_at > $1::timestamptz)
            AND credential.created_at <= ${daysAgo(FIRST_REMINDER_DAYS)} AND credential.created_at > ${daysAgo(PENDING_DAYS)}
            AND NOT ${hasEndedUnopened('credential.id')}
        ) AS waiting`,
    });
    // One that expires by itself while the next one is pending is told too: the partner may have to switch at once.
    scan.register({
      type: 'credential.ended',
      occurrences: `
        SELECT credential.id, (extract(epoch FROM credential.expires_at) * 1000)::bigint AS key, channel_user_id,
          jsonb_build_object(${CHANNEL_USER_IN_NOTICE}, ${CREDENTIAL_IN_NOTICE}) AS data
        FROM credential JOIN channel_user AS account ON account.id = channel_user_id
        WHERE revoked_at IS NULL AND credential.expires_at IS NOT NULL
          AND credential.expires_at <= $1::timestamptz AND credential.expires_at > ${daysAgo(ENDED_DAYS)}
          AND (superseded OR NOT pending AND EXISTS (SELECT FROM credential AS next
            WHERE next.channel_user_id = credential.channel_user_id AND next.pending AND next.revoked_at IS NULL))`,
    });
  }
}
