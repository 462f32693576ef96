import CheckIcon from '@mui/icons-material/CheckCircleOutlined';
import ErrorIcon from '@mui/icons-material/ErrorOutlined';
import Box from '@mui/material/Box';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import { Time } from '../feedback.tsx';
import { PagedList } from './paged-list.tsx';
import { type Activity, type ChannelUser, partnerApi } from './partner-api.ts';
import { outcomeOf } from './words.ts';

interface AttemptProps {
  readonly attempt: Activity;
  /** The same went wrong just above: what to do about it stands there. */
  readonly isRepeated: boolean;
  readonly labelOf: (id: string) => string | undefined;
}

function Attempt({ attempt, isRepeated, labelOf }: AttemptProps) {
  const { at, address, outcome, errorCode, credentialId, userAgent, count, requestId } = attempt;
  const { words, advice } = outcomeOf(attempt);
  const label = credentialId === null ? undefined : labelOf(credentialId);
  const Icon = outcome === 'token' ? CheckIcon : ErrorIcon;
  return (
    <Box sx={{ display: 'flex', gap: 1.5 }}>
      <Icon
        color={outcome === 'token' ? 'success' : 'error'}
        titleAccess={outcome === 'token' ? 'Token' : 'Refused'}
        sx={{ mt: 0.25 }}
      />
      <Box sx={{ flex: 1, minWidth: 0 }}>
        <Box sx={{ display: 'flex', flexWrap: 'wrap', columnGap: 2 }}>
          <Typography component="h3" variant="subtitle1" sx={{ flex: '1 1 240px' }}>
            {words}
            {count > 1 && ` (${count.toLocaleString()} times within a minute)`}
          </Typography>
          <Typography variant="body2" component="span">
            <Time value={at} />
          </Typography>
        </Box>
        <Typography variant="body2" color="textSecondary">
          {address === null ? 'from an unknown address' : `from ${address}`}
          {userAgent !== null && ` by ${userAgent}`}
          {label !== undefined && ` with “${label}”`}
          {errorCode !== null && (
            <>
              {' · '}the partner was told <code>{errorCode}</code>
            </>
          )}
          {outcome === 'refused' && ` · request ${requestId}`}
        </Typography>
        {advice !== undefined && !isRepeated && (
          <Typography variant="body2" sx={{ mt: 0.5 }}>
            {advice}
          </Typography>
        )}
      </Box>
    </Box>
  );
}

/** The partner's sign-ins with the true reasons, which it is not told. */
export function ActivityTab({ partner: { id } }: { partner: ChannelUser }) {
  const { data } = useQuery({
    queryKey: ['channel-users', 'credentials', id],
    queryFn: () => partnerApi.credentials(id),
  });
  const labelOf = (credentialId: string): string | undefined =>
    data?.items.find((credential) => credential.id === credentialId)?.label;
  return (
    <PagedList
      queryKey={['channel-users', 'activity', id]}
      ask={(cursor) => partnerApi.activity(id, cursor)}
      title="Sign-ins"
      what="the sign-ins"
      nothing="This partner has not tried to sign in yet."
    >
      {(attempt, newer) => (
        <Attempt attempt={attempt} isRepeated={newer?.reason === attempt.reason} labelOf={labelOf} />
      )}
    </PagedList>
  );
}
