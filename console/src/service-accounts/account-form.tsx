import Button from '@mui/material/Button';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import MenuItem from '@mui/material/MenuItem';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import { type ReactNode, useState } from 'react';
import { FormDialog } from '../leave-guard.tsx';
import { networkProblem } from '../partners/networks.ts';
import { toLocal } from '../partners/partner-inputs.tsx';
import { Refusal, useSubmission } from '../submission.tsx';
import type { Role, ServiceAccount } from '../types.ts';
import { ROLES } from './words.ts';

export type Fields = Pick<ServiceAccount, 'name' | 'role' | 'expiresAt' | 'allowedIps'>;

const SEPARATORS = /[\s,;]+/;
const FIELDS = ['name', 'role', 'expiresAt', 'allowedIps'];

interface AccountFormProps {
  readonly initial: Fields;
  readonly verb: string;
  /** Gets only the fields that were changed. */
  readonly onSubmit: (changed: Partial<Fields>) => Promise<void>;
  readonly onClose: () => void;
}

/** Creates or edits a service account. */
function AccountForm({ initial, verb, onSubmit, onClose }: AccountFormProps): ReactNode {
  const typedAtFirst = {
    name: initial.name,
    role: initial.role,
    expiry: initial.expiresAt === null ? '' : toLocal(initial.expiresAt),
    addresses: initial.allowedIps.join('\n'),
  };
  const [typed, setTyped] = useState(typedAtFirst);
  const set = (change: Partial<typeof typed>): void => {
    setTyped({ ...typed, ...change });
  };
  const allowedIps = [...new Set(typed.addresses.split(SEPARATORS).filter((entry) => entry !== ''))];
  const submission = useSubmission(
    () =>
      onSubmit({
        ...(typed.name !== typedAtFirst.name && { name: typed.name.trim() }),
        ...(typed.role !== typedAtFirst.role && { role: typed.role }),
        ...(typed.expiry !== typedAtFirst.expiry && {
          expiresAt: typed.expiry === '' ? null : new Date(typed.expiry).toISOString(),
        }),
        ...(typed.addresses !== typedAtFirst.addresses && { allowedIps }),
      }),
    JSON.stringify(typed) !== JSON.stringify(typedAtFirst),
    () => ({ allowedIps: allowedIps.map(networkProblem).find((problem) => problem !== undefined) }),
  );
  const { errors, busy } = submission;
  // The API names an entry of a list by its place.
  const ofAddresses = Object.entries(errors).find(([field]) => field.startsWith('allowedIps'))?.[1];
  return (
    <form onSubmit={submission.onSubmit} noValidate>
      <DialogContent sx={{ pt: 1 }}>
        <Stack spacing={2} sx={{ pt: 1 }}>
          <TextField
            label="Name"
            value={typed.name}
            onChange={(event) => {
              set({ name: event.target.value });
            }}
            error={errors['name'] !== undefined}
            helperText={errors['name'] ?? 'What the script does, such as provisioning. The audit trail shows it.'}
            autoComplete="off"
            autoFocus
            fullWidth
            slotProps={{ htmlInput: { maxLength: 100 } }}
          />
          <TextField
            select
            label="Role"
            value={typed.role}
            onChange={(event) => {
              set({ role: event.target.value as Role });
            }}
            error={errors['role'] !== undefined}
            helperText={errors['role'] ?? 'Staff, service accounts, settings and signing keys stay closed to scripts.'}
            fullWidth
            slotProps={{ select: { sx: { '& .MuiSelect-select': { whiteSpace: 'normal' } } } }}
          >
            {Object.entries(ROLES).map(([role, meaning]) => (
              <MenuItem key={role} value={role} sx={{ whiteSpace: 'normal' }}>
                {meaning}
              </MenuItem>
            ))}
          </TextField>
          <TextField
            multiline
            minRows={2}
            maxRows={8}
            label="Allowed addresses (optional)"
            placeholder="192.0.2.0/24"
            value={typed.addresses}
            onChange={(event) => {
              set({ addresses: event.target.value });
            }}
            error={ofAddresses !== undefined}
            helperText={ofAddresses ?? 'Addresses or networks that the script calls from, one per line. Empty: any.'}
            fullWidth
            slotProps={{ htmlInput: { spellCheck: false, autoComplete: 'off' } }}
          />
          <TextField
            type="datetime-local"
            label="Expires (optional)"
            value={typed.expiry}
            onChange={(event) => {
              set({ expiry: event.target.value });
            }}
            error={errors['expiresAt'] !== undefined}
            helperText={errors['expiresAt'] ?? 'In your time zone. Empty: never.'}
            fullWidth
            slotProps={{ inputLabel: { shrink: true } }}
          />
          <Refusal submission={submission} fields={FIELDS} />
        </Stack>
      </DialogContent>
      <DialogActions>
        <Button onClick={onClose} disabled={busy}>
          Cancel
        </Button>
        <Button type="submit" variant="contained" loading={busy} disabled={typed.name.trim() === ''}>
          {verb}
        </Button>
      </DialogActions>
    </form>
  );
}

/** The form in a dialog. */
export function AccountDialog({
  open,
  title,
  ...form
}: { readonly open: boolean; readonly title: ReactNode } & AccountFormProps): ReactNode {
  return (
    <FormDialog open={open} title={title} onClose={form.onClose}>
      <AccountForm {...form} />
    </FormDialog>
  );
}
