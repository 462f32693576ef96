import AddIcon from '@mui/icons-material/Add';
import GroupIcon from '@mui/icons-material/Group';
import MoreVert from '@mui/icons-material/MoreVert';
import Button from '@mui/material/Button';
import Chip from '@mui/material/Chip';
import Dialog from '@mui/material/Dialog';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import DialogTitle from '@mui/material/DialogTitle';
import IconButton from '@mui/material/IconButton';
import Menu from '@mui/material/Menu';
import MenuItem from '@mui/material/MenuItem';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import useMediaQuery from '@mui/material/useMediaQuery';
import { type ReactNode, useId, useState } from 'react';
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
import { ConfirmDialog, CopyField, SecretOnce, Time } from './feedback.tsx';
import { Refusal, useSubmission } from './submission.tsx';
import type { Role, Schemas, Staff } from './types.ts';

const ROLES: Record<Role, string> = {
  viewer: 'Viewer: reads',
  operator: 'Operator: also provisions, rotates, suspends, revokes',
  admin: 'Admin: also deletes, manages staff and signing keys',
};

type Fields = Pick<Staff, 'email' | 'name' | 'role'>;

/** Creates with an e-mail address, edits without: it cannot change. */
function StaffForm({
  initial,
  editing,
  onSubmit,
  onClose,
}: {
  initial: Fields;
  editing: boolean;
  onSubmit: (fields: Fields) => Promise<void>;
  onClose: () => void;
}): ReactNode {
  const [fields, setFields] = useState(initial);
  const set = (change: Partial<Fields>): void => {
    setFields({ ...fields, ...change });
  };
  const submission = useSubmission(() => onSubmit({ ...fields, email: fields.email.trim(), name: fields.name.trim() }));
  const { errors, busy } = submission;
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
            onChange={(event) => {
              set({ role: event.target.value as Role });
            }}
            error={errors['role'] !== undefined}
            helperText={errors['role'] ?? (editing ? 'Another role signs this person out.' : undefined)}
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
}: { open: boolean; title: string } & Parameters<typeof StaffForm>[0]): ReactNode {
  const titleId = useId();
  return (
    <Dialog open={open} onClose={form.onClose} aria-labelledby={titleId} fullWidth maxWidth="sm">
      <DialogTitle id={titleId}>{title}</DialogTitle>
      <StaffForm {...form} />
    </Dialog>
  );
}

interface Issued {
  email: string;
  password: string;
}

/** A password that was just generated; it lives in this state only. */
function IssuedPassword({ issued, onClose }: { issued: Issued | undefined; onClose: () => void }): ReactNode {
  return (
    <SecretOnce
      open={issued !== undefined}
      title="The new password"
      doneLabel="I have handed it over"
      onClose={onClose}
    >
      <Typography>
        Hand it over in person or through a channel you trust. It can be changed under “Your account”.
      </Typography>
      <CopyField label="E-mail" value={issued?.email ?? ''} />
      <CopyField label="Password" value={issued?.password ?? ''} secret />
    </SecretOnce>
  );
}

function Create(): ReactNode {
  const refresh = useRefresh();
  const [open, setOpen] = useState(false);
  const [issued, setIssued] = useState<Issued>();
  const create = async (fields: Fields): Promise<void> => {
    const { data } = await api<Schemas['NewStaffDto']>('POST', '/admin/staff', { json: fields });
    setOpen(false);
    setIssued({ email: data.email, password: data.password });
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
      <IssuedPassword
        issued={issued}
        onClose={() => {
          setIssued(undefined);
        }}
      />
    </>
  );
}

type Task = 'edit' | 'password' | 'second-factor' | 'delete';

function Actions(): ReactNode {
  const person = useRecordContext<Staff>();
  const refresh = useRefresh();
  const notify = useNotify();
  const { identity } = useGetIdentity();
  const [anchor, setAnchor] = useState<HTMLElement>();
  const [task, setTask] = useState<Task>();
  const [issued, setIssued] = useState<Issued>();
  if (person === undefined) return null;
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
    await api('PATCH', path, { json: { name, role } });
    close();
    done('Saved.');
  };
  const resetPassword = async (): Promise<void> => {
    const { data } = await api<{ password: string }>('POST', `${path}/reset-password`);
    setIssued({ email: person.email, password: data.password });
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
        <MenuItem onClick={choose('password')}>Reset password</MenuItem>
        {person.secondFactor && <MenuItem onClick={choose('second-factor')}>Reset second factor</MenuItem>}
        <MenuItem onClick={choose('delete')} sx={{ color: 'error.main' }}>
          Remove
        </MenuItem>
      </Menu>
      <StaffDialog
        open={task === 'edit'}
        title={`Edit ${person.name}`}
        initial={person}
        editing
        onSubmit={edit}
        onClose={close}
      />
      <ConfirmDialog
        open={task === 'password'}
        title={`Reset the password of ${person.name}?`}
        confirmLabel="Reset password"
        onConfirm={resetPassword}
        onClose={close}
      >
        {isSelf ? 'You are signed out.' : 'This person is signed out everywhere and the old password stops working.'} A
        new one is shown to you once.
      </ConfirmDialog>
      <ConfirmDialog
        open={task === 'second-factor'}
        title={`Reset the second factor of ${person.name}?`}
        confirmLabel="Reset second factor"
        danger
        onConfirm={resetSecondFactor}
        onClose={close}
      >
        Authenticator app and recovery codes stop working, and all sessions of this person end. The password alone signs
        in until a new one is set up: be sure who asks you for this.
      </ConfirmDialog>
      <ConfirmDialog
        open={task === 'delete'}
        title={`Remove ${person.name}?`}
        confirmLabel="Remove"
        danger
        onConfirm={remove}
        onClose={close}
      >
        {isSelf ? 'This is your own account: you are signed out for good.' : 'This person is signed out at once.'} What{' '}
        {isSelf ? 'you' : 'they'} did stays in the audit trail.
      </ConfirmDialog>
      <IssuedPassword
        issued={issued}
        onClose={() => {
          setIssued(undefined);
          refresh();
        }}
      />
    </>
  );
}

function SecondFactorChip({ on }: { on: boolean }): ReactNode {
  return <Chip size="small" variant="outlined" color={on ? 'success' : 'warning'} label={on ? 'On' : 'Off'} />;
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
          primaryText={(person) => person.name}
          secondaryText={(person) => (
            <>
              {person.email}
              <br />
              {person.role}
              {person.secondFactor ? ' · second factor on' : ' · no second factor'}
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
          <DataTable.Col<Staff>
            source="secondFactor"
            label="Second factor"
            render={(person) => <SecondFactorChip on={person.secondFactor} />}
          />
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

export const staff: ResourceProps = { name: 'staff', options: { label: 'Staff' }, icon: GroupIcon, list: StaffList };
