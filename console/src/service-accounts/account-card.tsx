import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Checkbox from '@mui/material/Checkbox';
import Chip from '@mui/material/Chip';
import FormControlLabel from '@mui/material/FormControlLabel';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { useNotify } from 'react-admin';
import { api } from '../api.ts';
import { ConfirmDialog, Time } from '../feedback.tsx';
import type { NewServiceAccount, ServiceAccount } from '../types.ts';
import { AccountDialog, type Fields } from './account-form.tsx';
import { KeyRow } from './key-row.tsx';
import { beginningOf, SERVICE_ACCOUNTS, STATUS } from './words.ts';

type Task = 'edit' | 'rotate' | 'suspend' | 'reactivate' | 'revoke' | 'delete';

/** What is known of an account, in one or two lines. */
function Facts({ account }: { account: ServiceAccount }): ReactNode {
  const { allowedIps, createdAt, expiresAt, lastUsedAt, lastUsedAddress } = account;
  return (
    <Typography variant="body2" color="textSecondary" component="div" sx={{ overflowWrap: 'anywhere' }}>
      {lastUsedAt === null ? (
        'Never used'
      ) : (
        <>
          Last used <Time value={lastUsedAt} relative />
          {lastUsedAddress !== null && ` from ${lastUsedAddress}`}
        </>
      )}{' '}
      · created <Time value={createdAt} />
      {expiresAt !== null && (
        <>
          {' '}
          · {Date.parse(expiresAt) <= Date.now() ? 'expired' : 'expires'} <Time value={expiresAt} />
        </>
      )}
      <br />
      {allowedIps.length === 0 ? 'May be used from anywhere' : `May be used from ${allowedIps.join(', ')}`}
    </Typography>
  );
}

function Buttons({ account, choose }: { account: ServiceAccount; choose: (task: Task) => () => void }): ReactNode {
  const isRevoked = account.status === 'revoked';
  const isSuspended = account.status === 'suspended';
  return (
    <Stack direction="row" spacing={1} useFlexGap sx={{ flexWrap: 'wrap', alignItems: 'center' }}>
      {!isRevoked && (
        <>
          <Button size="small" onClick={choose('rotate')}>
            New key
          </Button>
          <Button size="small" onClick={choose('edit')}>
            Edit
          </Button>
          <Button size="small" onClick={choose(isSuspended ? 'reactivate' : 'suspend')}>
            {isSuspended ? 'Reactivate' : 'Suspend'}
          </Button>
          <Button size="small" color="error" onClick={choose('revoke')}>
            Revoke
          </Button>
        </>
      )}
      <Button size="small" color="error" onClick={choose('delete')}>
        Delete
      </Button>
    </Stack>
  );
}

interface AccountCardProps {
  readonly account: ServiceAccount;
  readonly onKey: (made: NewServiceAccount) => void;
}

/** A service account with its keys, and what admins can do with it. */
export function AccountCard({ account, onKey }: AccountCardProps): ReactNode {
  const client = useQueryClient();
  const [task, setTask] = useState<Task>();
  const changed = (): Promise<void> => client.invalidateQueries({ queryKey: SERVICE_ACCOUNTS });
  const { label, color } = STATUS[account.status];
  return (
    <Card variant="outlined" sx={{ p: 1.5 }} component="li" aria-label={account.name}>
      <Stack spacing={1}>
        <Stack direction="row" spacing={1} useFlexGap sx={{ alignItems: 'center', flexWrap: 'wrap' }}>
          <Chip size="small" variant="outlined" label={label} {...(color && { color })} />
          <Typography component="h3" sx={{ fontWeight: 600, overflowWrap: 'anywhere' }}>
            <bdi>{account.name}</bdi>
          </Typography>
          <Chip size="small" label={account.role} />
        </Stack>
        <Facts account={account} />
        {account.keys.length > 0 && (
          <Stack component="ul" spacing={0.5} sx={{ p: 0, m: 0, listStyle: 'none' }} aria-label="Keys">
            {account.keys.map((key) => (
              <KeyRow key={key.id} account={account} of={key} onChanged={changed} />
            ))}
          </Stack>
        )}
        <Buttons
          account={account}
          choose={(chosen) => () => {
            setTask(chosen);
          }}
        />
      </Stack>
      <Tasks
        account={account}
        task={task}
        onKey={onKey}
        onChanged={changed}
        onClose={() => {
          setTask(undefined);
        }}
      />
    </Card>
  );
}

interface TasksProps extends AccountCardProps {
  readonly task: Task | undefined;
  readonly onChanged: () => Promise<void>;
  readonly onClose: () => void;
}

/** The dialogs of what was chosen. */
function Tasks({ account, task, onKey, onChanged, onClose }: TasksProps): ReactNode {
  const notify = useNotify();
  const [isLeaked, setLeaked] = useState(false);
  const path = `/admin/service-accounts/${account.id}`;
  const waiting = account.keys.find(({ status }) => status === 'pending');
  const name = <bdi>{account.name}</bdi>;
  const done = async (work: Promise<unknown>, text: string): Promise<void> => {
    await work;
    await onChanged();
    notify(text, { type: 'success' });
  };
  const edit = async (fields: Partial<Fields>): Promise<void> => {
    await done(api('PATCH', path, { json: fields }), 'Saved.');
    onClose();
  };
  const rotate = async (): Promise<void> => {
    const json = isLeaked
      ? { retireOthers: { after: 'now', seconds: 0 } }
      : waiting === undefined
        ? {}
        : { replaces: waiting.id };
    const { data } = await api<NewServiceAccount>('POST', `${path}/rotate`, { json });
    onKey(data);
    setLeaked(false);
    await onChanged();
  };
  const say = (deed: string, text: string) => (json: object) => done(api('POST', `${path}/${deed}`, { json }), text);
  const close = (): void => {
    setLeaked(false);
    onClose();
  };
  return (
    <>
      <AccountDialog
        open={task === 'edit'}
        title={<>Edit {name}</>}
        initial={account}
        verb="Save"
        onSubmit={edit}
        onClose={close}
      />
      <ConfirmDialog
        open={task === 'rotate'}
        title={<>A new key for {name}?</>}
        confirmLabel="Create a new key"
        onConfirm={rotate}
        onClose={close}
      >
        <Stack spacing={1}>
          <span>
            The new key is shown only once. The old one goes on until the script has used the new one, and for a day
            after that.
          </span>
          {waiting && (
            <span>
              <code>{beginningOf(waiting.id)}</code> still waits for its first use. It is withdrawn.
            </span>
          )}
          <FormControlLabel
            label="The old key has leaked: end it now. The script is refused until it has the new one."
            control={
              <Checkbox
                checked={isLeaked}
                onChange={(event) => {
                  setLeaked(event.target.checked);
                }}
              />
            }
          />
        </Stack>
      </ConfirmDialog>
      <ConfirmDialog
        open={task === 'suspend'}
        title={<>Suspend {name}?</>}
        confirmLabel="Suspend"
        requireReason
        onConfirm={say('suspend', 'Suspended. Its keys are refused.')}
        onClose={close}
      >
        Its keys are refused from now on, until you reactivate it.
      </ConfirmDialog>
      <ConfirmDialog
        open={task === 'reactivate'}
        title={<>Reactivate {name}?</>}
        confirmLabel="Reactivate"
        requireReason="optional"
        onConfirm={say('reactivate', 'Reactivated. Its keys work again.')}
        onClose={close}
      >
        Its keys work again.
      </ConfirmDialog>
      <ConfirmDialog
        open={task === 'revoke'}
        title={<>Revoke {name}?</>}
        confirmLabel="Revoke"
        danger
        requireReason
        onConfirm={say('revoke', 'Revoked. Its keys are refused for good.')}
        onClose={close}
      >
        All its keys are refused from now on, and it cannot be reactivated. To pause it, suspend it instead.
      </ConfirmDialog>
      <ConfirmDialog
        open={task === 'delete'}
        title={<>Delete {name}?</>}
        confirmLabel="Delete"
        danger
        onConfirm={() => done(api('DELETE', path), 'Deleted.')}
        onClose={close}
      >
        Its keys are refused from now on, and it leaves this list. What it did stays in the audit trail.
      </ConfirmDialog>
    </>
  );
}
