import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import { useNotify } from 'react-admin';
import { ConfirmDialog, Time } from '../feedback.tsx';
import { Loaded } from './loading-states.tsx';
import { type ChannelUser, type Credential, type Impact, partnerApi } from './partner-api.ts';
import { useRefreshPartners } from './state-actions.tsx';
import { countOf } from './words.ts';

function ImpactPreview({ liveTokens, lastTokenAt, lastCallAt, callsLast24h }: Impact) {
  const isQuiet = liveTokens === 0 && callsLast24h === 0;
  return (
    <Alert severity={isQuiet ? 'success' : 'warning'}>
      {isQuiet
        ? 'This password seems to be unused.'
        : 'This password is in use. Systems that use it will stop working.'}
      <Box component="ul" sx={{ m: 0, mt: 0.5, pl: 2.5 }}>
        <li>{countOf(liveTokens, 'live token', 'live tokens')}</li>
        <li>{countOf(callsLast24h, 'call', 'calls')} in the last 24 hours</li>
        <li>Last call: {lastCallAt === null ? 'none seen' : <Time value={lastCallAt} relative />}</li>
        <li>Last token: {lastTokenAt === null ? 'never' : <Time value={lastTokenAt} relative />}</li>
      </Box>
    </Alert>
  );
}

interface RevokeCredentialProps {
  readonly partner: ChannelUser;
  readonly credential: Credential;
  /** Whether this is the last working password that the partner has used. */
  readonly isLast: boolean;
  /** Whether a new password waits for its first use. */
  readonly hasPending: boolean;
  readonly onClose: () => void;
}

/** Revokes a password, after showing who used it recently. */
export function RevokeCredential({ partner, credential, isLast, hasPending, onClose }: RevokeCredentialProps) {
  const notify = useNotify();
  const refresh = useRefreshPartners();
  const impact = useQuery({
    queryKey: ['channel-users', 'impact', credential.id],
    queryFn: () => partnerApi.impact(partner.id, credential.id),
    staleTime: 0,
    gcTime: 0,
  });
  return (
    <ConfirmDialog
      open
      title={
        <>
          Revoke “<bdi>{credential.label}</bdi>”?
        </>
      }
      confirmLabel="Revoke"
      danger
      onConfirm={async () => {
        await partnerApi.revokeCredential(partner.id, credential.id);
        notify('The password is revoked.', { type: 'success' });
        await refresh();
      }}
      onClose={onClose}
    >
      <Stack spacing={2} useFlexGap>
        <Typography>
          The password and all tokens obtained with it stop working now. This cannot be undone. The partner’s other
          passwords keep working.
        </Typography>
        {isLast && (
          <Alert severity="warning">
            {hasPending ? (
              <>
                The new password has not been used yet. <bdi>{partner.displayName}</bdi> gets no new tokens until it
                uses it.
              </>
            ) : (
              <>
                This is the only password that works. <bdi>{partner.displayName}</bdi> cannot sign in until you create a
                new one.
              </>
            )}
          </Alert>
        )}
        <Loaded query={impact} what="its use" rows={2}>
          {(data) => <ImpactPreview {...data} />}
        </Loaded>
      </Stack>
    </ConfirmDialog>
  );
}
