import type { ReactNode } from 'react';
import { usePermissions } from 'react-admin';
import type { Role } from './types.ts';

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

/** @returns whether who is signed in may do what asks for `role`. The API decides; this only hides. */
export function useMay(role: Role): boolean {
  // Undefined while that is being asked.
  const own = usePermissions<Role>().permissions;
  return own !== undefined && RANK[own] >= RANK[role];
}

/** Shows its children to those who have at least `role`. */
export function IfRole({ role, children }: { role: Role; children: ReactNode }): ReactNode {
  return useMay(role) ? children : null;
}
