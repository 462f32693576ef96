import { api } from '../api.ts';

export type ChannelUserStatus = 'active' | 'suspended' | 'expired';

export interface ChannelUser {
  id: string;
  username: string;
  displayName: string;
  contactEmail: string | null;
  status: ChannelUserStatus;
  scopes: string[];
  tokenTtlSeconds: number;
  tokensPerMinute: number;
  allowedIps: string[];
  expiresAt: string | null;
  notes: string | null;
  createdAt: string;
  updatedAt: string;
  lastTokenAt: string | null;
  version: number;
}
/** What staff may change. */
export type Limits = Pick<
  ChannelUser,
  | 'displayName'
  | 'contactEmail'
  | 'scopes'
  | 'tokenTtlSeconds'
  | 'tokensPerMinute'
  | 'allowedIps'
  | 'expiresAt'
  | 'notes'
>;

export interface Credential {
  id: string;
  label: string;
  fingerprint: string | null;
  status: 'active' | 'expired' | 'revoked';
  createdAt: string;
  expiresAt: string | null;
  revokedAt: string | null;
  lastUsedAt: string | null;
  lastUsedAddress: string | null;
  lastUsedUserAgent: string | null;
}

/** A credential that was just made: with its password, or with the link that hands it over. */
export interface NewCredential {
  credential: Pick<Credential, 'id' | 'label' | 'fingerprint' | 'expiresAt'> & { password?: string };
  handoverUrl?: string;
  handover?: { id: string; expiresAt: string };
}

export interface Delivery {
  deliver?: 'password' | 'link';
  linkTtlSeconds?: number;
}

export interface Impact {
  liveTokens: number;
  lastTokenAt: string | null;
  lastCallAt: string | null;
  callsLast24h: number;
}

export interface Handover {
  id: string;
  credentialId: string;
  status: 'waiting' | 'revealed' | 'expired' | 'revoked';
  createdAt: string;
  expiresAt: string;
  revealedAt: string | null;
  revealedAddress: string | null;
}

export interface Activity {
  id: string;
  at: string;
  address: string | null;
  outcome: 'token' | 'refused';
  errorCode: string | null;
  reason: string | null;
  credentialId: string | null;
  requestId: string;
  userAgent: string | null;
  count: number;
}

export interface AuditEvent {
  id: string;
  at: string;
  actor: { type: string; id: string | null; name: string };
  action: string;
  target: { type: string; id: string; name: string };
  address: string | null;
  requestId: string | null;
  reason: string | null;
  changes: Record<string, [unknown, unknown]>;
}

export interface Scope {
  name: string;
  description: string | null;
  declared: boolean;
  grantedTo: number | null;
}

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

const PAGE = 25;
const pathOf = (id: string): string => `/admin/channel-users/${id}`;
const page = (path: string, query: Record<string, string>, cursor: string | null): string =>
  `${path}?${new URLSearchParams({ ...query, limit: String(PAGE), ...(cursor !== null && { cursor }) }).toString()}`;

/** The calls of the staff plane that partner pages make beside react-admin's own. */
export const partnerApi = {
  create: (body: Partial<Limits> & Delivery & { username: string; displayName: string }) =>
    api<NewCredential & { channelUser: ChannelUser }>('POST', '/admin/channel-users', { body }),
  get: (id: string) => api<ChannelUser>('GET', pathOf(id)),
  /** @param version the one that the change is based on: 412 when there is a newer one */
  update: (id: string, version: number, body: Partial<Limits>) =>
    api<ChannelUser>('PATCH', pathOf(id), { body, headers: { 'if-match': `"${String(version)}"` } }),
  delete: (id: string) => api<undefined>('DELETE', pathOf(id)),
  suspend: (id: string, reason: string) => api<ChannelUser>('POST', `${pathOf(id)}/suspend`, { body: { reason } }),
  reactivate: (id: string, reason: string) =>
    api<ChannelUser>('POST', `${pathOf(id)}/reactivate`, { body: reason === '' ? {} : { reason } }),
  revokeTokens: (id: string, reason: string) =>
    api<undefined>('POST', `${pathOf(id)}/revoke-tokens`, { body: { reason } }),

  credentials: (id: string) => api<{ items: Credential[] }>('GET', `${pathOf(id)}/credentials`),
  rotate: (id: string, body: Delivery & { label?: string; retireOthersInSeconds: number | null }) =>
    api<NewCredential>('POST', `${pathOf(id)}/credentials`, { body }),
  impact: (id: string, credentialId: string) => api<Impact>('GET', `${pathOf(id)}/credentials/${credentialId}/impact`),
  revokeCredential: (id: string, credentialId: string) =>
    api<undefined>('DELETE', `${pathOf(id)}/credentials/${credentialId}`),

  handovers: (id: string) => api<{ items: Handover[] }>('GET', `${pathOf(id)}/handovers`),
  revokeHandover: (id: string, handoverId: string) =>
    api<undefined>('DELETE', `${pathOf(id)}/handovers/${handoverId}`),

  activity: (id: string, cursor: string | null) => api<Page<Activity>>('GET', page(`${pathOf(id)}/activity`, {}, cursor)),
  audit: (target: string, cursor: string | null) =>
    api<Page<AuditEvent>>('GET', page('/admin/audit-events', { target }, cursor)),
  scopes: () => api<{ items: Scope[] }>('GET', '/admin/scopes'),
};
