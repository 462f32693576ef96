import type { Notice, NoticeDelivery, Webhook } from '../types.ts';

/** What webhooks may ask for, and what it means. */
export const EVENTS: Record<Webhook['events'][number], string> = {
  'credential.expiring': 'A password expires soon',
  'credential.rotated': 'A password was replaced',
  'channel_user.expiring': 'An account expires soon',
  'channel_user.suspended': 'An account was suspended',
  'channel_user.reactivated': 'An account was reactivated',
  'sign_in.failing': 'Sign-ins fail again and again',
};

export const MEANING: Record<Notice['type'], string> = { ...EVENTS, 'webhook.test': 'A test' };

export const STATES: Record<NoticeDelivery['state'], string> = {
  pending: 'Waits',
  failed: 'Failed, will be tried again',
  delivered: 'Delivered',
  'given-up': 'Given up',
};

export const ERRORS: Record<NonNullable<NoticeDelivery['lastError']>, string> = {
  name_not_resolved: 'its name is not in DNS',
  address_not_allowed: 'it leads to an address that is not allowed',
  connection_failed: 'no connection',
  tls_failed: 'no trusted TLS connection',
  timed_out: 'no answer within 10 seconds',
  invalid_response: 'the answer is not HTTP',
  redirect: 'it redirects, which is not followed',
  status: 'it did not accept the notice',
  not_signed: 'its secret cannot be decrypted with the key at hand',
  gone: 'it says that it is gone; the webhook was disabled',
};

/** As people tell webhooks apart. */
export const nameOf = ({ description, url }: Webhook): string => description ?? new URL(url).host;
