import Button from '@mui/material/Button';
import Chip from '@mui/material/Chip';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { type ReactNode, useState } from 'react';
import { useNotify } from 'react-admin';
import { api } from '../api.ts';
import { ConfirmDialog, Time } from '../feedback.tsx';
import type { ServiceAccount } from '../types.ts';
import { beginningOf } from './words.ts';

type Key = ServiceAccount['keys'][number];

function Use({ of: { lastUsedAt, lastUsedAddress } }: { of: Pick<Key, 'lastUsedAt' | 'lastUsedAddress'> }): ReactNode {
  if (lastUsedAt === null) return 'never used';
  return (
    <>
      last used <Time value={lastUsedAt} relative />
      {lastUsedAddress !== null && ` from ${lastUsedAddress}`}
    </>
  );
}

interface KeyRowProps {
  readonly account: ServiceAccount;
  readonly of: Key;
  readonly onChanged: () => Promise<void>;
}

/** One key that works: its beginning, its state and its last use, and how to end it. */
export function KeyRow({ account, of: key, onChanged }: KeyRowProps): ReactNode {
  const notify = useNotify();
  const [isAsked, setAsked] = useState(false);
  const isPending = key.status === 'pending';
  const path = `/admin/service-accounts/${account.id}/keys/${key.id}`;
  const end = async (): Promise<void> => {
    await (isPending ? api('POST', `${path}/withdraw`) : api('DELETE', path));
    await onChanged();
    notify(isPending ? 'Withdrawn. The other keys go on.' : 'Revoked. The key is refused.', { type: 'success' });
  };
  return (
    <Stack component="li" direction={{ xs: 'column', sm: 'row' }} spacing={1} sx={{ justifyContent: 'space-between' }}>
      <Stack direction="row" spacing={1} useFlexGap sx={{ alignItems: 'center', flexWrap: 'wrap' }}>
        <Typography component="code" variant="body2" sx={{ fontFamily: 'monospace' }}>
          {beginningOf(key.id)}
        </Typography>
        {isPending && <Chip size="small" variant="outlined" color="info" label="Waits for its first use" />}
        <Typography variant="body2" color="textSecondary" component="div">
          <Use of={key} />
          {key.expiresAt !== null && (
            <>
              {' '}
              · ends <Time value={key.expiresAt} relative />
            </>
          )}
          {key.pendingUntil !== null && (
            <>
              {' '}
              · withdrawn unused <Time value={key.pendingUntil} relative />
            </>
          )}
        </Typography>
      </Stack>
      <Button
        size="small"
        color="error"
        sx={{ alignSelf: { xs: 'flex-start', sm: 'center' } }}
        aria-label={`${isPending ? 'Withdraw' : 'Revoke'} ${beginningOf(key.id)}`}
        onClick={() => {
          setAsked(true);
        }}
      >
        {isPending ? 'Withdraw' : 'Revoke key'}
      </Button>
      <ConfirmDialog
        open={isAsked}
        title={
          <>
            {isPending ? 'Withdraw' : 'Revoke'} <code>{beginningOf(key.id)}</code> of <bdi>{account.name}</bdi>?
          </>
        }
        confirmLabel={isPending ? 'Withdraw' : 'Revoke key'}
        danger
        onConfirm={end}
        onClose={() => {
          setAsked(false);
        }}
      >
        {account.keys.length === 1
          ? 'It is the only key. The script is refused from now on, until it has a new one.'
          : 'A script that uses this key is refused from now on. The other keys go on.'}
      </ConfirmDialog>
    </Stack>
  );
}
