import { api, type Query } from '../api.ts';
import type { AuditEvent, Schemas } from '../types.ts';

export type ChannelUser = Schemas['ChannelUserDto'];
export type ChannelUserStatus = ChannelUser['status'];
/** What staff may change. */
export type Limits = Required<Schemas['UpdateChannelUserRequest']>;

export type Credential = Schemas['CredentialDto'];
/** A credential that was just made: with its password, or with the link that hands it over. */
export type NewCredential = Schemas['NewCredentialAnswer'];
export type Delivery = Pick<Schemas['CreateCredentialRequest'], 'deliver' | 'linkTtlSeconds'>;
export type Impact = Schemas['CredentialImpactDto'];
export type Handover = Schemas['HandoverDto'];
export type Activity = Schemas['ActivityDto'];
export type Grant = Schemas['GrantDto'];
export type Import = Schemas['ImportDto'];
export type ImportAnswer = Schemas['ImportAnswer'];

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
  create: (json: Schemas['CreateChannelUserRequest']) =>
    ask<Schemas['NewChannelUserAnswer']>('POST', '/admin/channel-users', { json }),
  get: (id: string) => ask<ChannelUser>('GET', pathOf(id)),
  /** @param version the one that the change is based on: 412 when there is a newer one */
  update: (id: string, version: number, json: Schemas['UpdateChannelUserRequest']) =>
    ask<ChannelUser>('PATCH', pathOf(id), { json, headers: { 'if-match': `"${String(version)}"` } }),
  delete: (id: string) => ask<undefined>('DELETE', pathOf(id)),
  suspend: (id: string, reason: string) => ask<ChannelUser>('POST', `${pathOf(id)}/suspend`, { json: { reason } }),
  reactivate: (id: string, reason = '') =>
    ask<ChannelUser>('POST', `${pathOf(id)}/reactivate`, { json: reason === '' ? {} : { reason } }),
  revokeTokens: (id: string, reason: string) =>
    ask<undefined>('POST', `${pathOf(id)}/revoke-tokens`, { json: { reason } }),

  credentials: (id: string) => ask<Schemas['CredentialListDto']>('GET', `${pathOf(id)}/credentials`),
  rotate: (id: string, json: Schemas['CreateCredentialRequest']) =>
    ask<NewCredential>('POST', `${pathOf(id)}/credentials`, { json }),
  impact: (id: string, credentialId: string) => ask<Impact>('GET', `${pathOf(id)}/credentials/${credentialId}/impact`),
  revokeCredential: (id: string, credentialId: string) =>
    ask<undefined>('DELETE', `${pathOf(id)}/credentials/${credentialId}`),

  handovers: (id: string) => ask<Schemas['HandoverListDto']>('GET', `${pathOf(id)}/handovers`),
  revokeHandover: (id: string, handoverId: string) => ask<undefined>('DELETE', `${pathOf(id)}/handovers/${handoverId}`),

  grants: (id: string, cursor: string | null) => pageOf<Grant>(`${pathOf(id)}/grants`, { cursor }),
  giveGrants: (id: string, json: Schemas['GrantRequest']) =>
    ask<Schemas['GrantedDto']>('POST', `${pathOf(id)}/grants`, { json }),
  withdrawGrant: (id: string, { resourceType, resourceId }: Grant) =>
    ask<undefined>('DELETE', `${pathOf(id)}/grants/${resourceType}/${encodeURIComponent(resourceId)}`),

  activity: (id: string, cursor: string | null) => pageOf<Activity>(`${pathOf(id)}/activity`, { cursor }),
  audit: (target: string, cursor: string | null) => pageOf<AuditEvent>('/admin/audit-events', { target, cursor }),
  sendImport: (file: File, options: { id: string; dryRun: boolean; partial: boolean }) =>
    ask<ImportAnswer>('POST', '/admin/channel-users/import', {
      query: options,
      body: file,
      // Browsers do not agree on the media type of a name.
      headers: { 'content-type': /\.(nd)?jsonl?$/i.test(file.name) ? 'application/x-ndjson' : 'text/csv' },
    }),
  import: (id: string) => ask<Import>('GET', `/admin/channel-users/imports/${id}`),
  imports: () => ask<Schemas['ImportListDto']>('GET', '/admin/channel-users/imports'),
  scopes: () => ask<Schemas['ScopeListDto']>('GET', '/admin/scopes'),
};
