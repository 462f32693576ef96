/** Who a route is for: partners, staff, or those who keep the service running. */
export type RoutePlane = 'partner' | 'staff' | 'ops';

/** What only staff, or only operators, reach; everything else is for partners. */
const PREFIXES: readonly (readonly [prefix: string, plane: RoutePlane])[] = [
  ['/admin', 'staff'],
  ['/console', 'staff'],
  ['/docs/admin', 'staff'],
  ['/health', 'ops'],
  ['/metrics', 'ops'],
];

/**
 * The plane of a route.
 *
 * @param template the path that it was declared with, such as `/admin/staff/:id`: what a client writes may be encoded
 */
export function planeOfRoute(template: string): RoutePlane {
  const found = PREFIXES.find(([prefix]) => template === prefix || template.startsWith(`${prefix}/`));
  return found?.[1] ?? 'partner';
}
