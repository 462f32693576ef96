import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Dialog from '@mui/material/Dialog';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import DialogTitle from '@mui/material/DialogTitle';
import MenuItem from '@mui/material/MenuItem';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useId, useState } from 'react';
import { Time } from '../feedback.tsx';
import { Refusal, useSubmission } from '../submission.tsx';
import { DEFAULT_DELIVERY, DeliveryChoice } from './delivery-choice.tsx';
import { LastUse } from './last-use.tsx';
import { type ChannelUser, type Credential, type NewCredential, partnerApi } from './partner-api.ts';
import { useRefreshPartners } from './state-actions.tsx';
import { countOf, durationOf } from './words.ts';

/** How long the old ones go on working. */
const OVERLAPS: readonly (readonly [value: string, words: string])[] = [
  ['0', 'End at once'],
  ['3600', 'Work for another hour'],
  ['86400', 'Work for another day (usual)'],
  ['604800', 'Work for another week'],
  ['2592000', 'Work for another 30 days'],
  ['null', 'Go on until they end or you revoke them'],
];

interface RotateDialogProps {
  readonly partner: ChannelUser;
  readonly live: readonly Credential[];
  readonly onIssued: (made: NewCredential) => void;
  readonly onClose: () => void;
}

/** A new password, and what becomes of the old ones: who used them last tells when their end goes unnoticed. */
export function RotateDialog({ partner, live, onIssued, onClose }: RotateDialogProps) {
  const titleId = useId();
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
  });
  const { busy, errors, onSubmit } = submission;
  const close = (): void => {
    if (!busy) onClose();
  };
  return (
    <Dialog open onClose={close} aria-labelledby={titleId} fullWidth maxWidth="sm">
      <DialogTitle id={titleId}>New password for {partner.displayName}</DialogTitle>
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
                          ; ends <Time value={credential.expiresAt} />
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
                    ? 'The partner gets no tokens until it uses the new one. Tokens it has go on working.'
                    : 'Time for the partner to change over. None gets longer than it had.')
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
              helperText={errors['label'] ?? 'To tell it from the others. Empty: today’s date.'}
              slotProps={{ htmlInput: { maxLength: 100 } }}
            />
            <DeliveryChoice value={delivery} onChange={setDelivery} />
            {mayFallSilent && (
              <Alert severity="warning">
                The old {live.length === 1 ? 'password ends' : 'passwords end'}{' '}
                {overlapSeconds === 0 ? 'at once' : `after ${durationOf(overlapSeconds)}`}, but the link works for{' '}
                {durationOf(linkTtlSeconds)}: a partner that opens it late gets no tokens in between.
              </Alert>
            )}
            {live.length >= 5 && overlap !== '0' && (
              <Alert severity="info">
                {countOf(live.length, 'password works', 'passwords work')} already, and there can be at most 5. Revoke
                one first, or end the old ones at once.
              </Alert>
            )}
            <Refusal submission={submission} fields={['label', 'retireOthersInSeconds']} />
          </Stack>
        </DialogContent>
        <DialogActions>
          <Button onClick={close} disabled={busy}>
            Cancel
          </Button>
          <Button type="submit" variant="contained" loading={busy}>
            {delivery.deliver === 'link' ? 'Make link' : 'Make password'}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
