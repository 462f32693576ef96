import Alert from '@mui/material/Alert';
import type { ReactNode } from 'react';
import { Loading } from 'react-admin';
import { useKnownMay } from './permissions.ts';
import type { Role } from './types.ts';

const WHO: Record<Role, string> = {
  viewer: 'All staff',
  operator: 'Operators and admins',
  admin: 'Admins',
};

interface RolePageProps {
  readonly role: Role;
  /** What the role can do on the page, such as `import partners`. */
  readonly what: string;
  readonly children: ReactNode;
}

/** A page for people with at least `role`. Tells others whom to ask. */
export function RolePage({ role, what, children }: RolePageProps): ReactNode {
  const may = useKnownMay(role);
  if (may === undefined) return <Loading />;
  return may ? (
    children
  ) : (
    <Alert severity="info" sx={{ mt: 2 }}>
      {WHO[role]} {what}. Ask one of them.
    </Alert>
  );
}
