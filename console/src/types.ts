import type { components } from './openapi.ts';

/** The API's request and response types. A change of the API that the console does not follow fails its type check. */
export type Schemas = components['schemas'];

export type Staff = Schemas['StaffDto'];
export type Role = Staff['role'];

export type ServiceAccount = Schemas['ServiceAccountDto'];
export type NewServiceAccount = Schemas['NewServiceAccountDto'];

/** `GET /admin/session`. */
export type Session = Schemas['CurrentSessionDto'];

export type Settings = Schemas['SettingsDto'];

/** `changes` maps a field to [before, after]. Typed here, since OpenAPI 3.0 has no tuples. */
export type AuditEvent = Omit<Schemas['AuditEventDto'], 'changes'> & { changes: Record<string, [unknown, unknown]> };

/** `GET /admin/audit-events/chain`. */
export type AuditChain = Schemas['AuditChainDto'];
export type Webhook = Schemas['WebhookDto'];
export type NewWebhook = Schemas['NewWebhookDto'];
export type Notice = Schemas['NoticeDto'];
export type NoticeDelivery = Schemas['NoticeDeliveryDto'];

export type SigningKey = Schemas['SigningKeyDto'];
export type SigningKeyList = Schemas['SigningKeyListDto'];
