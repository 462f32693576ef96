import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Checkbox from '@mui/material/Checkbox';
import FormControlLabel from '@mui/material/FormControlLabel';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useNotify } from 'react-admin';
import { CREDENTIAL_STATUS_WORDS } from '../../../src/partner-page/words/credential.ts';
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

interface DescendantsProps {
  readonly descendants: Impact['descendants'];
  readonly areIncluded: boolean;
  readonly onChange: (areIncluded: boolean) => void;
}

/** The passwords that the partner created with this one, and whether they end with it. */
function Descendants({ descendants, areIncluded, onChange }: DescendantsProps) {
  const isOne = descendants.length === 1;
  return (
    <Alert severity="warning">
      {isOne ? 'Another password was created with this one.' : 'Other passwords were created with this one.'} If this
      one leaked, whoever found it may have created {isOne ? 'it' : 'them'}.
      <Box component="ul" aria-label="Created with this password" sx={{ m: 0, mt: 0.5, pl: 2.5 }}>
        {descendants.map(({ id, label, fingerprint, status, lastUsedAt }) => (
          <li key={id}>
            <bdi>{label}</bdi>
            {fingerprint !== null && (
              <>
                {' · '}fingerprint <code>{fingerprint}</code>
              </>
            )}
            {' · '}
            {CREDENTIAL_STATUS_WORDS[status]}
            {' · '}
            {lastUsedAt === null ? (
              'never used'
            ) : (
              <>
                last used <Time value={lastUsedAt} relative />
              </>
            )}
          </li>
        ))}
      </Box>
      <FormControlLabel
        control={
          <Checkbox
            checked={areIncluded}
            onChange={(_, checked) => {
              onChange(checked);
            }}
          />
        }
        label={isOne ? 'End it too' : `End these ${String(descendants.length)} too`}
      />
    </Alert>
  );
}

/** Warns when no password is left that the partner has used. */
function LastOne({ partner, left }: { readonly partner: ChannelUser; readonly left: readonly Credential[] }) {
  if (left.some(({ status }) => status !== 'pending')) return null;
  return (
    <Alert severity="warning">
      {left.length > 0 ? (
        <>
          The new password has not been used yet. <bdi>{partner.displayName}</bdi> gets no new tokens until it uses it.
        </>
      ) : (
        <>
          No other password works. <bdi>{partner.displayName}</bdi> cannot sign in until you create a new one.
        </>
      )}
    </Alert>
  );
}

interface RevokeCredentialProps {
  readonly partner: ChannelUser;
  readonly credential: Credential;
  /** The partner's passwords that work. */
  readonly live: readonly Credential[];
  readonly onClose: () => void;
}

/** Revokes a password and what was created with it, after showing both and who used it recently. */
export function RevokeCredential({ partner, credential, live, onClose }: RevokeCredentialProps) {
  const notify = useNotify();
  const refresh = useRefreshPartners();
  const [areIncluded, setIncluded] = useState(true);
  const impact = useQuery({
    queryKey: ['channel-users', 'impact', credential.id],
    queryFn: () => partnerApi.impact(partner.id, credential.id),
    staleTime: 0,
    gcTime: 0,
  });
  const descendants = impact.data?.descendants ?? [];
  const ended = new Set([credential.id, ...(areIncluded ? descendants.map(({ id }) => id) : [])]);
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
        await partnerApi.revokeCredential(partner.id, credential.id, areIncluded);
        notify('The password is revoked.', { type: 'success' });
        await refresh();
      }}
      onClose={onClose}
    >
      <Stack spacing={2} useFlexGap>
        <Typography>
          The password and all tokens obtained with it stop working now. This cannot be undone. The partner’s other
          passwords keep working{descendants.length > 0 && ', unless they are listed below'}.
        </Typography>
        <LastOne partner={partner} left={live.filter(({ id }) => !ended.has(id))} />
        <Loaded query={impact} what="its use" rows={2}>
          {(data) => (
            <>
              <ImpactPreview {...data} />
              {data.descendants.length > 0 && (
                <Descendants descendants={data.descendants} areIncluded={areIncluded} onChange={setIncluded} />
              )}
            </>
          )}
        </Loaded>
      </Stack>
    </ConfirmDialog>
  );
}
