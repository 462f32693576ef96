import { api, type Query } from '../api.ts';
import type { AuditEvent } from '../types.ts';

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

const ask = async <T>(method: string, path: string, options?: Parameters<typeof api>[2]): Promise<T> =>
  (await api<T>(method, path, options)).data;
const pageOf = <T>(path: string, query: Query): Promise<Page<T>> =>
  ask('GET', path, { query: { ...query, limit: PAGE } });

/** The calls of the staff plane that partner pages make beside react-admin's own. */
export const partnerApi = {
  create: (json: Partial<Limits> & Delivery & { username: string }) =>
    ask<NewCredential & { channelUser: ChannelUser }>('POST', '/admin/channel-users', { json }),
  get: (id: string) => ask<ChannelUser>('GET', pathOf(id)),
  /** @param version the one that the change is based on: 412 when there is a newer one */
  update: (id: string, version: number, json: Partial<Limits>) =>
    ask<ChannelUser>('PATCH', pathOf(id), { json, headers: { 'if-match': `"${String(version)}"` } }),
  delete: (id: string) => ask<undefined>('DELETE', pathOf(id)),
  suspend: (id: string, reason: string) => ask<ChannelUser>('POST', `${pathOf(id)}/suspend`, { json: { reason } }),
  reactivate: (id: string, reason = '') =>
    ask<ChannelUser>('POST', `${pathOf(id)}/reactivate`, { json: reason === '' ? {} : { reason } }),
  revokeTokens: (id: string, reason: string) =>
    ask<undefined>('POST', `${pathOf(id)}/revoke-tokens`, { json: { reason } }),

  credentials: (id: string) => ask<{ items: Credential[] }>('GET', `${pathOf(id)}/credentials`),
  rotate: (id: string, json: Delivery & { label?: string; retireOthersInSeconds: number | null }) =>
    ask<NewCredential>('POST', `${pathOf(id)}/credentials`, { json }),
  impact: (id: string, credentialId: string) => ask<Impact>('GET', `${pathOf(id)}/credentials/${credentialId}/impact`),
  revokeCredential: (id: string, credentialId: string) =>
    ask<undefined>('DELETE', `${pathOf(id)}/credentials/${credentialId}`),

  handovers: (id: string) => ask<{ items: Handover[] }>('GET', `${pathOf(id)}/handovers`),
  revokeHandover: (id: string, handoverId: string) => ask<undefined>('DELETE', `${pathOf(id)}/handovers/${handoverId}`),

  activity: (id: string, cursor: string | null) => pageOf<Activity>(`${pathOf(id)}/activity`, { cursor }),
  audit: (target: string, cursor: string | null) => pageOf<AuditEvent>('/admin/audit-events', { target, cursor }),
  scopes: () => ask<{ items: Scope[] }>('GET', '/admin/scopes'),
};
