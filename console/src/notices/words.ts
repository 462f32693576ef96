import type { Notice, NoticeDelivery, Webhook } from '../types.ts';

/** The events that a webhook can subscribe to, in words. */
export const EVENTS: Record<Webhook['events'][number], string> = {
  'credential.expiring': 'A password expires soon',
  'credential.rotation_started': 'A new password waits for its first use',
  'credential.rotation_pending': 'A new password is still not used',
  'credential.rotation_withdrawn': 'A new password was withdrawn unused',
  'credential.rotated': 'A new password took over',
  'credential.ended': 'An old password ended',
  'credential.reported_leaked': 'A password was reported as leaked',
  'channel_user.expiring': 'An account expires soon',
  'channel_user.suspended': 'An account was suspended',
  'channel_user.reactivated': 'An account was reactivated',
  'sign_in.failing': 'Sign-ins fail repeatedly',
  'staff.break_glass_used': 'A break-glass account was used',
};

export const MEANING: Record<Notice['type'], string> = { ...EVENTS, 'webhook.test': 'A test' };

export const STATES: Record<NoticeDelivery['state'], string> = {
  pending: 'Waits',
  failed: 'Failed, will be retried',
  delivered: 'Delivered',
  'given-up': 'Given up',
};

export const ERRORS: Record<NonNullable<NoticeDelivery['lastError']>, string> = {
  name_not_resolved: 'DNS does not know its host name',
  address_not_allowed: 'it leads to an address that WEBHOOK_ALLOWED_NETWORKS does not allow',
  connection_failed: 'no connection',
  tls_failed: 'TLS failed, or its certificate is not trusted',
  timed_out: 'no response within 10 seconds',
  invalid_response: 'the response is not HTTP',
  redirect: 'it answered with a redirect, which Latchkey does not follow',
  status: 'it did not accept the notice',
  not_signed: 'its secret or address cannot be decrypted with the current key',
  gone: 'it answered 410 Gone, so the webhook was disabled',
};

/** A name for a webhook: its description, or the host of its URL. */
export const nameOf = ({ description, url }: Webhook): string => description ?? new URL(url).host;
