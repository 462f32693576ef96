import Box from '@mui/material/Box';
import Typography from '@mui/material/Typography';
import { callErrorDetails, callErrorTitle, NO_CALL_ERRORS } from '../../../src/partner-page/words/calls.ts';
import { Time } from '../feedback.tsx';
import { Words } from '../text.tsx';
import { PagedList } from './paged-list.tsx';
import { type CallError, type ChannelUser, partnerApi } from './partner-api.ts';

interface FailedCallProps {
  readonly call: CallError;
  /** The entry above has the same advice. */
  readonly isRepeated: boolean;
}

function FailedCall({ call, isRepeated }: FailedCallProps) {
  const { at, hint } = call;
  return (
    <>
      <Box sx={{ display: 'flex', flexWrap: 'wrap', columnGap: 2 }}>
        <Typography component="h3" variant="subtitle1" sx={{ flex: '1 1 240px' }}>
          {callErrorTitle(call)}
        </Typography>
        <Typography variant="body2" component="span">
          <Time value={at} seconds />
        </Typography>
      </Box>
      <Typography variant="body2" color="textSecondary">
        <Words text={callErrorDetails(call)} />
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
      nothing={NO_CALL_ERRORS}
    >
      {(call, newer) => <FailedCall call={call} isRepeated={newer?.hint === call.hint} />}
    </PagedList>
  );
}
