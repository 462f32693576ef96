import { Link } from 'react-router-dom';
import type { ChannelUser } from './partner-api.ts';

const SHOWN_SCOPES = 3;

/** Plain elements, since a page may have 600 of them. The table styles them. */
export function ScopeTags({ scopes }: { scopes: readonly string[] }) {
  const more = scopes.length - SHOWN_SCOPES;
  return (
    <div className="scopes">
      {scopes.slice(0, SHOWN_SCOPES).map((scope) => (
        <span key={scope}>{scope}</span>
      ))}
      {more > 0 && <span title={scopes.join(', ')}>{`+${String(more)}`}</span>}
    </div>
  );
}

/** Username and name as a link, which works with the keyboard and opens in new tabs. */
export function PartnerLink({ partner: { id, username, displayName } }: { partner: ChannelUser }) {
  return (
    <div className="partner">
      <Link
        to={`/channel-users/${id}/show`}
        onClick={(event) => {
          event.stopPropagation();
        }}
      >
        <span>{username}</span>
        <bdi>{displayName}</bdi>
      </Link>
    </div>
  );
}
