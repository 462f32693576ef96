import type { ChipProps } from '@mui/material/Chip';
import type { Role, ServiceAccount } from '../types.ts';

export const SERVICE_ACCOUNTS = ['service-accounts'];

/** What a role gives a script. Some pages are for people only, whatever the role. */
export const ROLES: Record<Role, string> = {
  viewer: 'Viewer: reads',
  operator: 'Operator: also provisions, rotates, suspends, revokes',
  admin: 'Admin: also deletes, and manages webhooks',
};

export const STATUS: Record<ServiceAccount['status'], { label: string; color: ChipProps['color'] }> = {
  active: { label: 'Active', color: 'success' },
  suspended: { label: 'Suspended', color: 'error' },
  expired: { label: 'Expired', color: 'warning' },
  revoked: { label: 'Revoked', color: 'default' },
};

/** The beginning of a key, which tells staff which one a script has. */
export const beginningOf = (keyId: string): string => `lk_sa_${keyId.slice(0, 8)}…`;
