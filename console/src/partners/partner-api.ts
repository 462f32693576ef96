import { api, type Query } from '../api.ts';
import type { operations } from '../openapi.ts';
import type { AuditEvent, Schemas } from '../types.ts';

export type ChannelUser = Schemas['ChannelUserDto'];
export type ChannelUserStatus = ChannelUser['status'];
/** The fields that staff can change. */
export type Limits = Required<Schemas['UpdateChannelUserRequest']>;

/** The API's filters of the list. */
export type ListFilter = NonNullable<operations['exportChannelUsers']['parameters']['query']>;

export type Credential = Schemas['CredentialDto'];
/** A credential that was just created, with its password or its hand-over link. */
export type NewCredential = Schemas['IssuedCredentialDto'];
export type Delivery = Pick<Schemas['CreateCredentialRequest'], 'deliver' | 'linkTtlSeconds'>;
export type Impact = Schemas['CredentialImpactDto'];
export type Handover = Schemas['HandoverDto'];
export type Activity = Schemas['ActivityDto'];
export type Calls = Schemas['CallsDto'];
export type CallError = Schemas['CallErrorDto'];
export type Grant = Schemas['GrantDto'];
export type Import = Schemas['ImportDto'];
export type ImportResult = Schemas['ImportResultDto'];

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

/** The calls of the staff API that partner pages make besides react-admin's own. */
export const partnerApi = {
  create: (json: Schemas['CreateChannelUserRequest']) =>
    ask<Schemas['NewChannelUserDto']>('POST', '/admin/channel-users', { json }),
  /** @returns `wished`, with a number appended if a partner has that username */
  freeUsername: async (wished: string) => {
    const { items } = await ask<{ items: ChannelUser[] }>('GET', '/admin/channel-users', {
      query: { q: wished, limit: 200 },
    });
    const taken = new Set(items.map(({ username }) => username.toLowerCase()));
    for (let number = 2, free = wished; ; number++) {
      if (!taken.has(free.toLowerCase())) return free;
      free = `${wished.slice(0, 60)}-${String(number)}`;
    }
  },
  get: (id: string) => ask<ChannelUser>('GET', pathOf(id)),
  /** @param version the version that the change is based on; a newer one is answered 412 */
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
  revokeCredential: (id: string, credentialId: string, includeDescendants: boolean) =>
    ask<undefined>('DELETE', `${pathOf(id)}/credentials/${credentialId}`, { query: { includeDescendants } }),
  withdrawCredential: (id: string, credentialId: string) =>
    ask<Credential>('POST', `${pathOf(id)}/credentials/${credentialId}/withdraw`),

  handovers: (id: string) => ask<Schemas['HandoverListDto']>('GET', `${pathOf(id)}/handovers`),
  revokeHandover: (id: string, handoverId: string) => ask<undefined>('DELETE', `${pathOf(id)}/handovers/${handoverId}`),

  grants: (id: string, cursor: string | null) => pageOf<Grant>(`${pathOf(id)}/grants`, { cursor }),
  giveGrants: (id: string, json: Schemas['GrantRequest']) =>
    ask<Schemas['GrantedDto']>('POST', `${pathOf(id)}/grants`, { json }),
  withdrawGrant: (id: string, { resourceType, resourceId }: Grant) =>
    ask<undefined>('DELETE', `${pathOf(id)}/grants`, { query: { resourceType, resourceId } }),

  activity: (id: string, cursor: string | null, outcome?: Activity['outcome']) =>
    pageOf<Activity>(`${pathOf(id)}/activity`, { cursor, outcome }),
  calls: (id: string, hours: number, signal: AbortSignal) =>
    ask<Calls>('GET', `${pathOf(id)}/calls`, { query: { hours }, signal }),
  errors: (id: string, cursor: string | null) => pageOf<CallError>(`${pathOf(id)}/errors`, { cursor }),
  /** The event of the partner's suspension: who, when and why. */
  suspension: async (target: string) =>
    (
      await ask<Page<AuditEvent>>('GET', '/admin/audit-events', {
        query: { target, action: 'channel-user.suspended', limit: 1 },
      })
    ).items[0] ?? null,
  audit: (target: string, cursor: string | null) => pageOf<AuditEvent>('/admin/audit-events', { target, cursor }),
  sendImport: (file: File, options: { id: string; dryRun: boolean; partial: boolean } & Delivery) =>
    ask<ImportResult>('POST', '/admin/channel-users/import', {
      query: options,
      body: file,
      // By the name's extension, since browsers disagree on the media type.
      headers: { 'content-type': /\.(nd)?jsonl?$/i.test(file.name) ? 'application/x-ndjson' : 'text/csv' },
    }),
  import: (id: string) => ask<Import>('GET', `/admin/channel-users/imports/${id}`),
  endImport: (id: string) => ask<undefined>('DELETE', `/admin/channel-users/imports/${id}`),
  imports: () => ask<Schemas['ImportListDto']>('GET', '/admin/channel-users/imports'),
  resourceTypes: () => ask<Schemas['ResourceTypeListDto']>('GET', '/admin/resource-types'),
  scopes: () => ask<Schemas['ScopeListDto']>('GET', '/admin/scopes'),
};
