import { Injectable } from '@nestjs/common';
import { NoticeScanService } from '../notice/notice-scan.service.ts';

/** SQL for the channel user in a notice's `data`, as arguments of jsonb_build_object on the alias `account`. */
export const CHANNEL_USER_IN_NOTICE = `'channelUser',
  jsonb_build_object('id', account.id, 'username', account.username, 'displayName', account.display_name)`;

/** The notices of `near`, but of accounts that have expired. */
const noticesWith = (details: string): string => `
  SELECT near.*, account.id AS channel_user_id, jsonb_build_object(${CHANNEL_USER_IN_NOTICE}, ${details}) AS data
  FROM near JOIN channel_user AS account ON account.id = near.owner
  WHERE account.expires_at IS NULL OR account.expires_at > $1::timestamptz`;

/** Has notices made of credentials and accounts that expire soon. */
@Injectable()
export class ExpiryNoticesService {
  constructor(scan: NoticeScanService) {
    scan.register({
      type: 'credential.expiring',
      expiries: `SELECT expires_at, channel_user_id AS owner, id FROM credential
        WHERE revoked_at IS NULL AND expires_at IS NOT NULL`,
      notices: noticesWith(`'credential', (
        SELECT jsonb_build_object('id', id, 'fingerprint', fingerprint, 'expiresAt', notice_time(expires_at))
        FROM credential WHERE id = near.id)`),
    });
    scan.register({
      type: 'channel_user.expiring',
      expiries: 'SELECT expires_at, id AS owner, id FROM channel_user WHERE expires_at IS NOT NULL',
      notices: noticesWith(`'expiresAt', notice_time(near.expires_at)`),
    });
  }
}
