import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
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
import { DEFAULT_RETIREMENT, RetirementChoice } from './retirement-choice.tsx';
import { useRefreshPartners } from './state-actions.tsx';
import { countOf, durationOf } from './words.ts';

interface RotateDialogProps {
  readonly partner: ChannelUser;
  readonly live: readonly Credential[];
  readonly onIssued: (made: NewCredential) => void;
  readonly onClose: () => void;
}

/** @returns milliseconds until all passwords have ended by themselves; infinite if one does not */
const msUntilEnd = (live: readonly Credential[]): number =>
  Math.max(...live.map(({ expiresAt }) => (expiresAt === null ? Infinity : Date.parse(expiresAt)))) - Date.now();

/** Creates a new password and retires the old ones. Shows their last use, which tells whether they are still needed. */
export function RotateDialog({ partner, live: all, onIssued, onClose }: RotateDialogProps) {
  const refresh = useRefreshPartners();
  const [label, setLabel] = useState('');
  const [retirement, setRetirement] = useState(DEFAULT_RETIREMENT);
  const [delivery, setDelivery] = useState(DEFAULT_DELIVERY);
  const { deliver, linkTtlSeconds = 0 } = delivery;
  const { after, seconds } = retirement;
  const waiting = all.find(({ status }) => status === 'pending');
  const live = all.filter((credential) => credential !== waiting);
  const isLinkLonger = (ms: number): boolean => live.length > 0 && deliver === 'link' && ms < linkTtlSeconds * 1000;
  const mayFallSilent = after === 'now' && isLinkLonger(seconds === null ? Infinity : seconds * 1000);
  const submission = useSubmission(async () => {
    const made = await partnerApi.rotate(partner.id, {
      ...(label.trim() !== '' && { label: label.trim() }),
      ...(seconds === null ? { retireOthersInSeconds: null } : { retireOthers: { after, seconds } }),
      ...(waiting && after === 'first-use' && { replaces: waiting.id }),
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
            {waiting && (
              <Alert severity="info">
                “{waiting.label}” is still waiting for its first use. It is withdrawn when you create another one.
              </Alert>
            )}
            {live.length > 0 && (
              <RetirementChoice
                value={retirement}
                onChange={setRetirement}
                areSeveral={live.length > 1}
                error={errors['retireOthersInSeconds'] ?? errors['retireOthers.seconds']}
              />
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
                {seconds === 0 ? 'at once' : `after ${durationOf(seconds ?? 0)}`}, but the link works for{' '}
                {durationOf(linkTtlSeconds)}: a partner that opens it late gets no tokens in between.
              </Alert>
            )}
            {after === 'first-use' && isLinkLonger(msUntilEnd(live)) && (
              <Alert severity="warning">
                The old {live.length === 1 ? 'password expires by itself' : 'passwords expire by themselves'} before the
                link does: a partner that opens it late gets no tokens in between.
              </Alert>
            )}
            {live.length >= 5 && !(after === 'now' && seconds === 0) && (
              <Alert severity="info">
                {countOf(live.length, 'password works', 'passwords work')} already, and at most 5 can. Revoke one first,
                or let the old ones stop working at once.
              </Alert>
            )}
            <Refusal submission={submission} fields={['label', 'retireOthersInSeconds', 'retireOthers.seconds']} />
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
