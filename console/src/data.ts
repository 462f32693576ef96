import type { DataProvider, GetListParams, GetListResult, Identifier, RaRecord } from 'react-admin';
import { api, type Query } from './api.ts';

interface Page {
  items: (Record<string, unknown> & { id?: Identifier })[];
  total?: number | null;
  nextCursor?: string | null;
}

/**
 * The cursors of the pages that were loaded, by list (path, filter and order), since the API pages by cursor and
 * react-admin by number. A page without a known cursor, as after a reload on page 3, is reached page by page.
 */
const cursors = new Map<string, Map<number, string>>();
const MAX_LISTS = 50;

function cursorsOf(list: string): Map<number, string> {
  const known = cursors.get(list) ?? new Map<number, string>();
  cursors.delete(list);
  cursors.set(list, known);
  const [oldest] = cursors.keys();
  if (cursors.size > MAX_LISTS && oldest !== undefined) cursors.delete(oldest);
  return known;
}

/** Lists that the API returns as a whole. */
const UNPAGED = new Set(['staff']);

async function listWhole(path: string, { sort }: GetListParams): Promise<GetListResult> {
  const { data } = await api<Page>('GET', path);
  const field = sort?.field ?? 'id';
  const sign = sort?.order === 'DESC' ? -1 : 1;
  const text = (item: Record<string, unknown>): string => {
    const value = item[field];
    return typeof value === 'string' ? value : JSON.stringify(value ?? '');
  };
  const sorted = [...data.items].sort((a, b) => sign * text(a).localeCompare(text(b)));
  return { data: sorted as RaRecord[], total: sorted.length };
}

async function list(resource: string, params: GetListParams, signal?: AbortSignal): Promise<GetListResult> {
  const path = `/admin/${resource}`;
  if (UNPAGED.has(resource)) return listWhole(path, params);
  const { page = 1, perPage = 50 } = params.pagination ?? {};
  const query: Query = { ...(params.filter as Query), limit: perPage };
  // The audit trail has only one order.
  if (params.sort && resource !== 'audit-events') {
    query['sort'] = `${params.sort.order === 'DESC' ? '-' : ''}${params.sort.field}`;
  }
  const known = cursorsOf(JSON.stringify([path, query]));
  let at = page;
  while (at > 1 && !known.has(at)) at--;
  for (;;) {
    const { data } = await api<Page>('GET', path, { query: { ...query, cursor: known.get(at) }, signal });
    const { items, total, nextCursor } = data;
    if (typeof nextCursor === 'string') known.set(at + 1, nextCursor);
    if (at === page || typeof nextCursor !== 'string') {
      // A page beyond the end, as after a deletion, is empty, and react-admin offers the one before.
      const shown = at === page ? items : [];
      // Without a total, the last page reveals the number of items.
      const count = total ?? (typeof nextCursor === 'string' ? undefined : (at - 1) * perPage + items.length);
      return {
        data: shown as RaRecord[],
        ...(count !== undefined && { total: count }),
        pageInfo: { hasNextPage: at === page && typeof nextCursor === 'string', hasPreviousPage: page > 1 },
      };
    }
    at++;
  }
}

const one = async (resource: string, id: Identifier, signal?: AbortSignal): Promise<RaRecord> =>
  (await api<RaRecord>('GET', `/admin/${resource}/${encodeURIComponent(String(id))}`, { signal })).data;

const unsupported = (): Promise<never> => Promise.reject(new Error('The API has no such call.'));

/** The changed fields. Only these are sent, so that another person's changes to other fields stay. */
function changesOf(data: Record<string, unknown>, previous: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(data).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(previous[name])),
  );
}

/**
 * react-admin's access to `/admin/<resource>`. `update` sends the version that was read as `If-Match`, if the resource
 * has one. Answers with a secret (a new password) must not pass through here, since react-admin caches answers.
 */
export const dataProvider: DataProvider = {
  supportAbortSignal: true,
  getList: (resource, params) => list(resource, params, params.signal) as Promise<GetListResult<never>>,
  getOne: async (resource, { id, signal }) => ({ data: (await one(resource, id, signal)) as never }),
  getMany: async (resource, { ids, signal }) => ({
    data: (await Promise.all(ids.map((id) => one(resource, id, signal)))) as never[],
  }),
  getManyReference: unsupported,
  create: async (resource, { data }) => ({
    data: (await api(`POST`, `/admin/${resource}`, { json: data })).data as never,
  }),
  update: async (resource, { id, data, previousData }) => {
    const version = (previousData as { version?: number } | undefined)?.version;
    const answer = await api('PATCH', `/admin/${resource}/${encodeURIComponent(String(id))}`, {
      json: changesOf(data as Record<string, unknown>, (previousData ?? {}) as Record<string, unknown>),
      ...(version !== undefined && { headers: { 'if-match': `"${String(version)}"` } }),
    });
    return { data: answer.data as never };
  },
  updateMany: unsupported,
  delete: async (resource, { id, previousData }) => {
    await api('DELETE', `/admin/${resource}/${encodeURIComponent(String(id))}`);
    return { data: (previousData ?? { id }) as never };
  },
  deleteMany: async (resource, { ids }) => {
    for (const id of ids) await api('DELETE', `/admin/${resource}/${encodeURIComponent(String(id))}`);
    return { data: ids };
  },
};
