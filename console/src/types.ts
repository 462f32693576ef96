import type { components } from './openapi.ts';

/** What the API takes and answers: a change there that the console does not follow breaks its type check. */
export type Schemas = components['schemas'];

export type Staff = Schemas['StaffDto'];
export type Role = Staff['role'];

/** `GET /admin/session`. */
export type Session = Schemas['CurrentSessionDto'];

export type Settings = Schemas['SettingsDto'];

/** `changes`: field → [before, after]; OpenAPI 3.0 knows no pairs. */
export type AuditEvent = Omit<Schemas['AuditEventDto'], 'changes'> & { changes: Record<string, [unknown, unknown]> };

/** `GET /admin/audit-events/chain`. */
export type AuditChain = Schemas['AuditChainDto'];
export type Webhook = Schemas['WebhookDto'];
export type NewWebhook = Schemas['NewWebhookDto'];
export type Notice = Schemas['NoticeDto'];
export type NoticeDelivery = Schemas['NoticeDeliveryDto'];

export type SigningKey = Schemas['SigningKeyDto'];
export type SigningKeyList = Schemas['SigningKeyListDto'];
