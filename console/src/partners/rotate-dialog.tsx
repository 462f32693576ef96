import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import MenuItem from '@mui/material/MenuItem';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useState } from 'react';
import { Time } from '../feedback.tsx';
import { FormDialog } from '../leave-guard.tsx';
import { Refusal, useSubmission } from '../submission.tsx';
import { DEFAULT_DELIVERY, DeliveryChoice } from './delivery-choice.tsx';
import { LastUse } from './last-use.tsx';
import { type ChannelUser, type Credential, type NewCredential, partnerApi } from './partner-api.ts';
import { useRefreshPartners } from './state-actions.tsx';
import { countOf, durationOf } from './words.ts';

/** Choices of how long the old passwords keep working, by seconds. */
const OVERLAPS: readonly (readonly [value: string, words: string])[] = [
  ['0', 'Stop working at once'],
  ['3600', 'Keep working for another hour'],
  ['86400', 'Keep working for another day (usual)'],
  ['604800', 'Keep working for another week'],
  ['2592000', 'Keep working for another 30 days'],
  ['null', 'Keep working until they expire or you revoke them'],
];

interface RotateDialogProps {
  readonly partner: ChannelUser;
  readonly live: readonly Credential[];
  readonly onIssued: (made: NewCredential) => void;
  readonly onClose: () => void;
}

/** Creates a new password and retires the old ones. Shows their last use, which tells whether they are still needed. */
export function RotateDialog({ partner, live, onIssued, onClose }: RotateDialogProps) {
  const refresh = useRefreshPartners();
  const [label, setLabel] = useState('');
  const [overlap, setOverlap] = useState('86400');
  const [delivery, setDelivery] = useState(DEFAULT_DELIVERY);
  const { deliver, linkTtlSeconds = 0 } = delivery;
  const overlapSeconds = overlap === 'null' ? Infinity : Number(overlap);
  const mayFallSilent = live.length > 0 && deliver === 'link' && overlapSeconds < linkTtlSeconds;
  const submission = useSubmission(async () => {
    const made = await partnerApi.rotate(partner.id, {
      ...(label.trim() !== '' && { label: label.trim() }),
      retireOthersInSeconds: overlap === 'null' ? null : Number(overlap),
      ...delivery,
    });
    onIssued(made);
    await refresh();
  }, label.trim() !== '');
  const { busy, errors, onSubmit } = submission;
  return (
    <FormDialog
      open
      title={
        <>
          New password for <bdi>{partner.displayName}</bdi>
        </>
      }
      busy={busy}
      onClose={onClose}
    >
      <form onSubmit={onSubmit} noValidate>
        <DialogContent sx={{ pt: 0 }}>
          <Stack spacing={2} useFlexGap>
            {live.length > 0 && (
              <Box>
                <Typography>
                  {live.length === 1 ? 'The password that works now:' : `The ${String(live.length)} that work now:`}
                </Typography>
                <Box component="ul" sx={{ mt: 0.5, mb: 0, pl: 2.5, overflowWrap: 'anywhere' }}>
                  {live.map((credential) => (
                    <li key={credential.id}>
                      <strong>{credential.label}</strong>: <LastUse credential={credential} />
                      {credential.expiresAt !== null && (
                        <>
                          ; expires <Time value={credential.expiresAt} />
                        </>
                      )}
                    </li>
                  ))}
                </Box>
              </Box>
            )}
            {live.length > 0 && (
              <TextField
                select
                fullWidth
                label={`The old ${live.length === 1 ? 'one' : 'ones'}`}
                value={overlap}
                onChange={({ target }) => {
                  setOverlap(target.value);
                }}
                error={errors['retireOthersInSeconds'] !== undefined}
                helperText={
                  errors['retireOthersInSeconds'] ??
                  (overlap === '0'
                    ? 'The partner gets no new tokens until it uses the new password. Its existing tokens keep working.'
                    : 'Time for the partner to switch. This never extends an expiry.')
                }
              >
                {OVERLAPS.map(([value, words]) => (
                  <MenuItem key={value} value={value}>
                    {words}
                  </MenuItem>
                ))}
              </TextField>
            )}
            <TextField
              fullWidth
              label="Label (optional)"
              placeholder="production"
              value={label}
              onChange={({ target }) => {
                setLabel(target.value);
              }}
              error={errors['label'] !== undefined}
              helperText={errors['label'] ?? 'Distinguishes it from the others. Empty: today’s date.'}
              slotProps={{ htmlInput: { maxLength: 100 } }}
            />
            <DeliveryChoice value={delivery} onChange={setDelivery} />
            {mayFallSilent && (
              <Alert severity="warning">
                The old {live.length === 1 ? 'password expires' : 'passwords expire'}{' '}
                {overlapSeconds === 0 ? 'at once' : `after ${durationOf(overlapSeconds)}`}, but the link works for{' '}
                {durationOf(linkTtlSeconds)}: a partner that opens it late gets no tokens in between.
              </Alert>
            )}
            {live.length >= 5 && overlap !== '0' && (
              <Alert severity="info">
                {countOf(live.length, 'password works', 'passwords work')} already, and at most 5 can. Revoke one first,
                or let the old ones stop working at once.
              </Alert>
            )}
            <Refusal submission={submission} fields={['label', 'retireOthersInSeconds']} />
          </Stack>
        </DialogContent>
        <DialogActions>
          <Button onClick={onClose} disabled={busy}>
            Cancel
          </Button>
          <Button type="submit" variant="contained" loading={busy}>
            {delivery.deliver === 'link' ? 'Create link' : 'Create password'}
          </Button>
        </DialogActions>
      </form>
    </FormDialog>
  );
}
