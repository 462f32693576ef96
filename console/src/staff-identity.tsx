import Button from '@mui/material/Button';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { type ReactNode, useState } from 'react';
import { api } from './api.ts';
import { ConfirmDialog } from './feedback.tsx';
import { FormDialog } from './leave-guard.tsx';
import { useSignInMethods } from './single-sign-on.tsx';
import { Refusal, useSubmission } from './submission.tsx';
import type { Staff } from './types.ts';

interface Props {
  readonly open: boolean;
  readonly person: Staff;
  readonly onDone: (text: string) => void;
  readonly onClose: () => void;
}

function AttachForm({ person, onDone, onClose }: Omit<Props, 'open'>): ReactNode {
  const [subject, setSubject] = useState('');
  const provider = useSignInMethods().data?.singleSignOn?.name ?? 'the identity provider';
  const submission = useSubmission(async () => {
    await api('PUT', `/admin/staff/${person.id}/identity`, { json: { subject: subject.trim() } });
    onClose();
    onDone(`${person.name} signs in with ${provider} from now on.`);
  }, subject !== '');
  const { errors, busy } = submission;
  return (
    <form onSubmit={submission.onSubmit} noValidate>
      <DialogContent sx={{ pt: 1 }}>
        <Stack spacing={2}>
          <Typography>
            <bdi>{person.name}</bdi> then signs in with {provider}. The password and the second factor of Latchkey stop
            working, and all sessions end. The role comes from the groups at {provider}.
          </Typography>
          <TextField
            label="Identity"
            value={subject}
            onChange={(event) => {
              setSubject(event.target.value);
            }}
            error={errors['subject'] !== undefined}
            helperText={
              errors['subject'] ??
              `The page that refused the sign-in shows it. Make sure that it belongs to this person: whoever has it gets this account.`
            }
            autoComplete="off"
            autoFocus
            fullWidth
          />
          <Refusal submission={submission} fields={['subject']} />
        </Stack>
      </DialogContent>
      <DialogActions>
        <Button onClick={onClose}>Cancel</Button>
        <Button type="submit" variant="contained" loading={busy} disabled={subject.trim() === ''}>
          Attach
        </Button>
      </DialogActions>
    </form>
  );
}

/** Lets a person with a password sign in at the identity provider instead. */
export function AttachIdentity({ open, ...form }: Props): ReactNode {
  return (
    <FormDialog
      open={open}
      title={
        <>
          Attach an identity to <bdi>{form.person.name}</bdi>
        </>
      }
      onClose={form.onClose}
    >
      <AttachForm {...form} />
    </FormDialog>
  );
}

/** Lets a person of the identity provider sign in with a password again. */
export function DetachIdentity({ open, person, onDone, onClose }: Props): ReactNode {
  const detach = async (): Promise<void> => {
    await api('DELETE', `/admin/staff/${person.id}/identity`);
    onDone(`${person.name} signs in with a password from now on. Reset it to send a link.`);
  };
  return (
    <ConfirmDialog
      open={open}
      title={
        <>
          Detach the identity of <bdi>{person.name}</bdi>?
        </>
      }
      confirmLabel="Detach"
      danger
      onConfirm={detach}
      onClose={onClose}
    >
      All sessions of this person end. Then choose “Reset password” to send a link for a new password.
    </ConfirmDialog>
  );
}

/** Lets an admin sign in with a password even if all others need the identity provider, or no longer. */
export function BreakGlass({ open, person, onDone, onClose }: Props): ReactNode {
  const { breakGlass } = person;
  const change = async (): Promise<void> => {
    await api('PATCH', `/admin/staff/${person.id}`, { json: { breakGlass: !breakGlass } });
    onDone(breakGlass ? 'This is an ordinary account now.' : 'This is a break-glass account now.');
  };
  return (
    <ConfirmDialog
      open={open}
      title={
        <>
          {breakGlass ? 'Make an ordinary account of ' : 'Make a break-glass account of '}
          <bdi>{person.name}</bdi>?
        </>
      }
      confirmLabel={breakGlass ? 'Make it ordinary' : 'Make it break-glass'}
      onConfirm={change}
      onClose={onClose}
    >
      {breakGlass
        ? 'If passwords are restricted to break-glass accounts, this person can no longer sign in with one.'
        : 'This person can sign in with a password even if all others need the identity provider, and must have a second factor. Each use is reported as a notice. There can be three such accounts.'}
    </ConfirmDialog>
  );
}
