import Alert from '@mui/material/Alert';
import AlertTitle from '@mui/material/AlertTitle';
import { useQuery } from '@tanstack/react-query';
import { Time } from '../feedback.tsx';
import { type ChannelUser, partnerApi } from './partner-api.ts';

/** Who suspended a partner, when and why. Reloaded when the partner changes. */
function Suspension({ partner: { id, version, createdAt } }: { partner: ChannelUser }) {
  const { data: event } = useQuery({
    queryKey: ['channel-users', 'suspension', id, version],
    queryFn: () => partnerApi.suspension(id),
  });
  return (
    <Alert severity="warning" sx={{ overflowWrap: 'anywhere' }}>
      <AlertTitle sx={{ mb: 0 }}>
        {event ? (
          <>
            Suspended <Time value={event.at} relative /> by <bdi>{event.actor.name}</bdi>
            {event.reason !== null && `: ${event.reason}`}
          </>
        ) : (
          // Only an import adds partners that are suspended already, and records one event for all of them.
          `Suspended${event === null ? ' by the import that added it' : ''}`
        )}
      </AlertTitle>
      The partner gets no new tokens, and its existing tokens are refused until it is reactivated.
      {event !== undefined && (
        <>
          {' '}
          Since <Time value={event?.at ?? createdAt} seconds />.
        </>
      )}
    </Alert>
  );
}

/** Explains at the top of a partner's page why the partner gets no tokens. */
export function StateNotice({ partner }: { partner: ChannelUser }) {
  if (partner.status === 'suspended') return <Suspension partner={partner} />;
  if (partner.status !== 'expired') return null;
  return (
    <Alert severity="warning">
      <AlertTitle sx={{ mb: 0 }}>
        Expired <Time value={partner.expiresAt} relative />
      </AlertTitle>
      The partner gets no new tokens, and its existing tokens are refused. To let it in again, change the expiry under
      Account.
    </Alert>
  );
}
