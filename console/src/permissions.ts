import type { ReactNode } from 'react';
import { usePermissions } from 'react-admin';
import type { Role } from './types.ts';

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

/** @returns the result of {@link useMay}, but `undefined` while the session is loading */
export function useKnownMay(role: Role): boolean | undefined {
  const own = usePermissions<Role>().permissions;
  return own && RANK[own] >= RANK[role];
}

/** @returns whether the person has at least `role`. The API decides; this only hides elements. */
export function useMay(role: Role): boolean {
  return useKnownMay(role) === true;
}

/** Shows its children to people with at least `role`. */
export function IfRole({ role, children }: { role: Role; children: ReactNode }): ReactNode {
  return useMay(role) ? children : null;
}
