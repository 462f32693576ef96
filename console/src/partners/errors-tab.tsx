import Box from '@mui/material/Box';
import Typography from '@mui/material/Typography';
import { Time } from '../feedback.tsx';
import { RequestLink } from '../requests/request-link.tsx';
import { PagedList } from './paged-list.tsx';
import { type CallError, type ChannelUser, partnerApi } from './partner-api.ts';

interface FailedCallProps {
  readonly call: CallError;
  /** The entry above has the same advice. */
  readonly isRepeated: boolean;
}

function FailedCall({ call, isRepeated }: FailedCallProps) {
  const { at, method, route, status, title, code, reason, hint, requestId, count } = call;
  return (
    <>
      <Box sx={{ display: 'flex', flexWrap: 'wrap', columnGap: 2 }}>
        <Typography component="h3" variant="subtitle1" sx={{ flex: '1 1 240px' }}>
          {reason}
          {count > 1 && ` (${count.toLocaleString()} times within a minute)`}
        </Typography>
        <Typography variant="body2" component="span">
          <Time value={at} seconds />
        </Typography>
      </Box>
      <Typography variant="body2" color="textSecondary">
        <code>
          {method} {route}
        </code>
        {' · '}
        {status} {title}
        {code !== null && (
          <>
            {', '}
            <code>{code}</code>
          </>
        )}
        {' · '}request <RequestLink id={requestId} />
      </Typography>
      {!isRepeated && (
        <Typography variant="body2" sx={{ mt: 0.5 }}>
          {hint}
        </Typography>
      )}
    </>
  );
}

/** The partner's calls that were refused or failed, in the words that the partner itself reads. */
export function ErrorsTab({ partner: { id } }: { partner: ChannelUser }) {
  return (
    <PagedList
      queryKey={['channel-users', 'errors', id]}
      ask={(cursor) => partnerApi.errors(id, cursor)}
      title="Refused and failed calls"
      filter={<Typography color="textSecondary">The partner reads the same, in the same words.</Typography>}
      what="the refused and failed calls"
      nothing="No call of this partner was refused or failed in the last 14 days. Calls without a valid token belong to nobody, and refused sign-ins are under Sign-ins."
    >
      {(call, newer) => <FailedCall call={call} isRepeated={newer?.hint === call.hint} />}
    </PagedList>
  );
}
