import AddIcon from '@mui/icons-material/Add';
import GroupIcon from '@mui/icons-material/Group';
import MoreVert from '@mui/icons-material/MoreVert';
import Button from '@mui/material/Button';
import Chip from '@mui/material/Chip';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import IconButton from '@mui/material/IconButton';
import Menu from '@mui/material/Menu';
import MenuItem from '@mui/material/MenuItem';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import useMediaQuery from '@mui/material/useMediaQuery';
import { type ReactNode, useState } from 'react';
import {
  DataTable,
  List,
  type ResourceProps,
  SimpleList,
  TopToolbar,
  useGetIdentity,
  useNotify,
  useRecordContext,
  useRefresh,
} from 'react-admin';
import { api } from './api.ts';
import { isEmailAddress } from './email.ts';
import { ConfirmDialog, CopyField, SecretOnce, Time } from './feedback.tsx';
import { FormDialog } from './leave-guard.tsx';
import { StaffFailures } from './staff-failures.tsx';
import { useSignInMethods } from './single-sign-on.tsx';
import { AttachIdentity, BreakGlass, DetachIdentity } from './staff-identity.tsx';
import { Refusal, useSubmission } from './submission.tsx';
import type { Role, Schemas, Staff } from './types.ts';

const ROLES: Record<Role, string> = {
  viewer: 'Viewer: reads',
  operator: 'Operator: also provisions, rotates, suspends, revokes',
  admin: 'Admin: also deletes, manages staff and signing keys',
};

type Fields = Pick<Staff, 'email' | 'name' | 'role'>;

/** Creates or edits a staff member. Editing leaves out the e-mail address, which cannot change. */
function StaffForm({
  initial,
  editing,
  fixedRole = false,
  onSubmit,
  onClose,
}: {
  initial: Fields;
  editing: boolean;
  /** Whether the identity provider decides on the role. */
  fixedRole?: boolean;
  onSubmit: (fields: Fields) => Promise<void>;
  onClose: () => void;
}): ReactNode {
  const [fields, setFields] = useState(initial);
  const set = (change: Partial<Fields>): void => {
    setFields({ ...fields, ...change });
  };
  const submission = useSubmission(
    () => onSubmit({ ...fields, email: fields.email.trim(), name: fields.name.trim() }),
    JSON.stringify(fields) !== JSON.stringify(initial),
    () => ({
      email: isEmailAddress(fields.email.trim())
        ? undefined
        : 'This is not an e-mail address. Example: name@company.example',
    }),
  );
  const { errors, busy } = submission;
  const ofProvider = 'The groups at the identity provider decide on the role.';
  const roleHelp = fixedRole ? ofProvider : editing ? 'Changing the role signs this person out.' : undefined;
  return (
    <form onSubmit={submission.onSubmit} noValidate>
      <DialogContent sx={{ pt: 1 }}>
        <Stack spacing={2} sx={{ pt: 1 }}>
          <TextField
            label="E-mail"
            type="email"
            value={fields.email}
            disabled={editing}
            onChange={(event) => {
              set({ email: event.target.value });
            }}
            error={errors['email'] !== undefined}
            helperText={errors['email']}
            autoComplete="off"
            autoFocus={!editing}
            fullWidth
          />
          <TextField
            label="Name"
            value={fields.name}
            onChange={(event) => {
              set({ name: event.target.value });
            }}
            error={errors['name'] !== undefined}
            helperText={errors['name']}
            autoComplete="off"
            autoFocus={editing}
            fullWidth
          />
          <TextField
            select
            label="Role"
            value={fields.role}
            disabled={fixedRole}
            onChange={(event) => {
              set({ role: event.target.value as Role });
            }}
            error={errors['role'] !== undefined}
            helperText={errors['role'] ?? roleHelp}
            fullWidth
            slotProps={{ select: { sx: { '& .MuiSelect-select': { whiteSpace: 'normal' } } } }}
          >
            {Object.entries(ROLES).map(([role, meaning]) => (
              <MenuItem key={role} value={role} sx={{ whiteSpace: 'normal' }}>
                {meaning}
              </MenuItem>
            ))}
          </TextField>
          <Refusal submission={submission} fields={['email', 'name', 'role']} />
        </Stack>
      </DialogContent>
      <DialogActions>
        <Button onClick={onClose}>Cancel</Button>
        <Button
          type="submit"
          variant="contained"
          loading={busy}
          disabled={fields.email.trim() === '' || fields.name.trim() === ''}
        >
          {editing ? 'Save' : 'Create'}
        </Button>
      </DialogActions>
    </form>
  );
}

function StaffDialog({
  open,
  title,
  ...form
}: { open: boolean; title: ReactNode } & Parameters<typeof StaffForm>[0]): ReactNode {
  return (
    <FormDialog open={open} title={title} onClose={form.onClose}>
      <StaffForm {...form} />
    </FormDialog>
  );
}

/** A link that was just created. It is kept only in this state. */
type Issued = Pick<Schemas['NewStaffDto'], 'email' | 'name' | 'link' | 'linkExpiresAt'>;

function IssuedLink({ issued, onClose }: { issued: Issued | undefined; onClose: () => void }): ReactNode {
  return (
    <SecretOnce
      open={issued !== undefined}
      title={
        <>
          A link for <bdi>{issued?.name}</bdi>
        </>
      }
      what="The link"
      doneLabel="I have copied the link"
      onClose={onClose}
    >
      <CopyField label="One-time link" value={issued?.link ?? ''} />
      <Typography>
        Send it to {issued?.email}. The first person to open it chooses the password, so send it to this person only. It
        works once, until <Time value={issued?.linkExpiresAt} />.
      </Typography>
      <Typography color="textSecondary">If it is lost, choose “Reset password” to create a new one.</Typography>
    </SecretOnce>
  );
}

function Create(): ReactNode {
  const refresh = useRefresh();
  const [open, setOpen] = useState(false);
  const [issued, setIssued] = useState<Issued>();
  const create = async (fields: Fields): Promise<void> => {
    const json = { ...fields, deliver: 'link' };
    const { data } = await api<Schemas['NewStaffDto']>('POST', '/admin/staff', { json });
    setOpen(false);
    setIssued(data);
    refresh();
  };
  return (
    <>
      <Button
        variant="contained"
        startIcon={<AddIcon />}
        onClick={() => {
          setOpen(true);
        }}
      >
        Add staff
      </Button>
      <StaffDialog
        open={open}
        title="Add a staff member"
        initial={{ email: '', name: '', role: 'operator' }}
        editing={false}
        onSubmit={create}
        onClose={() => {
          setOpen(false);
        }}
      />
      <IssuedLink
        issued={issued}
        onClose={() => {
          setIssued(undefined);
        }}
      />
    </>
  );
}

type Task = 'edit' | 'break-glass' | 'password' | 'second-factor' | 'attach' | 'detach' | 'delete';

function Actions(): ReactNode {
  const person = useRecordContext<Staff>();
  const refresh = useRefresh();
  const notify = useNotify();
  const { identity } = useGetIdentity();
  const [anchor, setAnchor] = useState<HTMLElement>();
  const [task, setTask] = useState<Task>();
  const { data: methods } = useSignInMethods();
  const [issued, setIssued] = useState<Issued>();
  if (person === undefined) return null;
  const singleSignOn = methods?.singleSignOn;
  const isSelf = identity?.id === person.id;
  const path = `/admin/staff/${person.id}`;
  const done = (text: string): void => {
    notify(text, { type: 'success' });
    refresh();
  };
  const close = (): void => {
    setTask(undefined);
  };
  const choose = (chosen: Task) => () => {
    setAnchor(undefined);
    setTask(chosen);
  };
  const edit = async ({ name, role }: Fields): Promise<void> => {
    // The identity provider decides on the role of its people.
    await api('PATCH', path, { json: { name, ...(person.identity === null && { role }) } });
    close();
    done('Saved.');
  };
  const resetPassword = async (): Promise<void> => {
    const json = { deliver: 'link' };
    const { data } = await api<Schemas['NewStaffDto']>('POST', `${path}/reset-password`, { json });
    setIssued(data);
  };
  const resetSecondFactor = async (): Promise<void> => {
    await api('DELETE', `${path}/second-factor`);
    done('The second factor was removed.');
  };
  const remove = async (): Promise<void> => {
    await api('DELETE', path);
    done(`${person.name} was removed.`);
  };
  return (
    <>
      <IconButton
        aria-label={`Actions for ${person.name}`}
        aria-haspopup="menu"
        onClick={(event) => {
          setAnchor(event.currentTarget);
        }}
      >
        <MoreVert />
      </IconButton>
      <Menu
        anchorEl={anchor ?? null}
        open={anchor !== undefined}
        onClose={() => {
          setAnchor(undefined);
        }}
      >
        <MenuItem onClick={choose('edit')}>Edit</MenuItem>
        {person.identity === null && <MenuItem onClick={choose('password')}>Reset password</MenuItem>}
        {person.secondFactor && <MenuItem onClick={choose('second-factor')}>Reset second factor</MenuItem>}
        {person.identity === null && person.role === 'admin' && (
          <MenuItem onClick={choose('break-glass')}>
            {person.breakGlass ? 'Make it an ordinary account' : 'Make it a break-glass account'}
          </MenuItem>
        )}
        {person.identity !== null && <MenuItem onClick={choose('detach')}>Detach the identity</MenuItem>}
        {person.identity === null && singleSignOn && <MenuItem onClick={choose('attach')}>Attach an identity</MenuItem>}
        <MenuItem onClick={choose('delete')} sx={{ color: 'error.main' }}>
          Remove
        </MenuItem>
      </Menu>
      <StaffDialog
        open={task === 'edit'}
        title={
          <>
            Edit <bdi>{person.name}</bdi>
          </>
        }
        initial={person}
        editing
        fixedRole={person.identity !== null}
        onSubmit={edit}
        onClose={close}
      />
      <ConfirmDialog
        open={task === 'password'}
        title={
          <>
            Reset the password of <bdi>{person.name}</bdi>?
          </>
        }
        confirmLabel="Reset password"
        onConfirm={resetPassword}
        onClose={close}
      >
        {isSelf ? 'You are signed out' : 'This person is signed out everywhere'} and the old password stops working. You
        get a one-time link for choosing a new one.
      </ConfirmDialog>
      <ConfirmDialog
        open={task === 'second-factor'}
        title={
          <>
            Reset the second factor of <bdi>{person.name}</bdi>?
          </>
        }
        confirmLabel="Reset second factor"
        danger
        onConfirm={resetSecondFactor}
        onClose={close}
      >
        The authenticator app and the recovery codes stop working, and all sessions of this person end. Until a new
        second factor is set up, the password alone is enough to sign in: make sure that you know who is asking.
      </ConfirmDialog>
      <BreakGlass open={task === 'break-glass'} person={person} onDone={done} onClose={close} />
      <AttachIdentity open={task === 'attach'} person={person} onDone={done} onClose={close} />
      <DetachIdentity open={task === 'detach'} person={person} onDone={done} onClose={close} />
      <ConfirmDialog
        open={task === 'delete'}
        title={
          <>
            Remove <bdi>{person.name}</bdi>?
          </>
        }
        confirmLabel="Remove"
        danger
        onConfirm={remove}
        onClose={close}
      >
        {isSelf
          ? 'This is your own account. You are signed out and cannot sign in again.'
          : 'This person is signed out at once.'}{' '}
        What {isSelf ? 'you' : 'they'} did stays in the audit trail.
      </ConfirmDialog>
      <IssuedLink
        issued={issued}
        onClose={() => {
          setIssued(undefined);
          refresh();
        }}
      />
    </>
  );
}

/** How a person signs in. The second factor of single sign-on is the provider's. */
function SignInChips({ person }: { person: Staff }): ReactNode {
  const provider = useSignInMethods().data?.singleSignOn?.name ?? 'Single sign-on';
  return (
    <Stack component="span" direction="row" spacing={0.5} useFlexGap sx={{ flexWrap: 'wrap' }}>
      <Chip component="span" size="small" variant="outlined" label={person.identity === null ? 'Password' : provider} />
      {person.identity === null && (
        <Chip
          component="span"
          size="small"
          variant="outlined"
          color={person.secondFactor ? 'success' : 'warning'}
          label={person.secondFactor ? 'Second factor' : 'No second factor'}
        />
      )}
      {person.breakGlass && <Chip component="span" size="small" color="info" variant="outlined" label="Break-glass" />}
    </Stack>
  );
}

/** The page of staff accounts. */
export function StaffPage(): ReactNode {
  return (
    <>
      <StaffList />
      <StaffFailures />
    </>
  );
}

function StaffList(): ReactNode {
  const isSmall = useMediaQuery((theme: { breakpoints: { down: (key: string) => string } }) =>
    theme.breakpoints.down('md'),
  );
  return (
    <List
      title="Staff"
      sort={{ field: 'email', order: 'ASC' }}
      pagination={false}
      exporter={false}
      actions={
        <TopToolbar>
          <Create />
        </TopToolbar>
      }
    >
      {isSmall ? (
        <SimpleList<Staff>
          primaryText={(person) => <bdi>{person.name}</bdi>}
          secondaryText={(person) => (
            <>
              {person.email}
              <br />
              {person.role}
              <SignInChips person={person} />
            </>
          )}
          tertiaryText={() => <Actions />}
          rowClick={false}
        />
      ) : (
        <DataTable bulkActionButtons={false} rowClick={false}>
          <DataTable.Col source="name" />
          <DataTable.Col source="email" label="E-mail" />
          <DataTable.Col source="role" />
          <DataTable.Col<Staff> label="Sign-in" disableSort render={(person) => <SignInChips person={person} />} />
          <DataTable.Col<Staff>
            source="lastSignInAt"
            label="Last sign-in"
            render={(person) => <Time value={person.lastSignInAt} relative />}
          />
          <DataTable.Col label="Actions" disableSort align="right">
            <Actions />
          </DataTable.Col>
        </DataTable>
      )}
    </List>
  );
}

export const staff: ResourceProps = { name: 'staff', options: { label: 'Staff' }, icon: GroupIcon };
