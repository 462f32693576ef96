/** The API that a route belongs to: that of partners, of staff, or of operations. */
export type Api = 'partner' | 'staff' | 'ops';

/** The paths of the staff API and the operations API. Every other path is in the partner API. */
const PREFIXES: readonly (readonly [prefix: string, api: Api])[] = [
  ['/admin', 'staff'],
  ['/console', 'staff'],
  ['/docs/admin', 'staff'],
  ['/health', 'ops'],
  ['/metrics', 'ops'],
];

/**
 * Decides which API a route belongs to when the route is registered. Requests read `api` from the route's config.
 *
 * @param template the path as declared, such as `/admin/staff/:id`; the path in a request may be encoded
 */
export function apiOfRoute(template: string): Api {
  const found = PREFIXES.find(([prefix]) => template === prefix || template.startsWith(`${prefix}/`));
  return found?.[1] ?? 'partner';
}
