import MuiLink from '@mui/material/Link';
import type { ReactNode, SyntheticEvent } from 'react';
import { Link } from 'react-router-dom';
import type { AuditEvent } from './types.ts';

/** The path of the page of an event's target, or undefined if the console has none. */
function pathOf({ type, id }: AuditEvent['target']): string | undefined {
  switch (type) {
    case 'channel-user':
      return `/channel-users/${id}/show`;
    case 'staff':
      return '/staff';
    case 'service-account':
      return '/service-accounts';
    case 'signing-key':
      return '/signing-keys';
    case 'webhook':
      return '/webhooks';
    case 'settings':
      return '/settings';
    case 'import':
      return '/import';
    default:
      return undefined;
  }
}

/** The path of the list of events with one filter. */
const eventsWith = (filter: Record<string, string>): string =>
  `/audit-events?${new URLSearchParams({ filter: JSON.stringify(filter), displayedFilters: JSON.stringify(Object.fromEntries(Object.keys(filter).map((name) => [name, true]))), page: '1' }).toString()}`;

const stopAtRow = (event: SyntheticEvent): void => {
  event.stopPropagation();
};

function To({ to, children, title }: { to: string; children: ReactNode; title?: string }): ReactNode {
  return (
    <MuiLink component={Link} to={to} title={title} onClick={stopAtRow}>
      {children}
    </MuiLink>
  );
}

/** The name of an event's target, with a link to its page. */
export function Target({ target }: Pick<AuditEvent, 'target'>): ReactNode {
  const path = pathOf(target);
  const name = <bdi>{target.name}</bdi>;
  return path === undefined ? name : <To to={path}>{name}</To>;
}

/** The name of an event's actor, with a link to all events of this person. */
export function Actor({ actor }: Pick<AuditEvent, 'actor'>): ReactNode {
  const name = <bdi>{actor.name}</bdi>;
  return actor.id === null ? (
    name
  ) : (
    <To to={eventsWith({ actor: actor.id })} title={`Everything that ${actor.name} did`}>
      {name}
    </To>
  );
}

/** A link to all events about the same target. */
export const SameTarget = ({ target }: Pick<AuditEvent, 'target'>): ReactNode => (
  <To to={eventsWith({ target: target.id })}>
    Everything about <bdi>{target.name}</bdi>
  </To>
);
