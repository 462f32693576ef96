import BlockIcon from '@mui/icons-material/Block';
import DeleteIcon from '@mui/icons-material/DeleteOutlined';
import KeyOffIcon from '@mui/icons-material/KeyOff';
import PlayIcon from '@mui/icons-material/PlayArrow';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNotify, useRedirect } from 'react-admin';
import { ConfirmDialog } from '../feedback.tsx';
import { IfRole } from '../permissions.ts';
import { type ChannelUser, partnerApi } from './partner-api.ts';

type Action = 'suspend' | 'reactivate' | 'revoke-tokens' | 'delete';

/** @returns refreshes whatever is shown about partners */
export function useRefreshPartners(): () => Promise<void> {
  const queries = useQueryClient();
  return async () => {
    await Promise.all([
      queries.invalidateQueries({ queryKey: ['channel-users'] }),
      queries.invalidateQueries({ queryKey: ['overview'] }),
    ]);
  };
}

/** What changes a partner as a whole. Each says what will happen and asks once. */
export function StateActions({ partner: { id, username, displayName, status } }: { partner: ChannelUser }) {
  const [asked, setAsked] = useState<Action>();
  const notify = useNotify();
  const redirect = useRedirect();
  const refresh = useRefreshPartners();
  const close = (): void => {
    setAsked(undefined);
  };
  const done = async (message: string): Promise<void> => {
    notify(message, { type: 'success' });
    await refresh();
  };
  return (
    <IfRole role="operator">
      <Stack direction="row" spacing={1} useFlexGap sx={{ flexWrap: { xs: 'wrap', md: 'nowrap' }, flexShrink: 0 }}>
        {status === 'suspended' ? (
          <Button
            variant="contained"
            startIcon={<PlayIcon />}
            onClick={() => {
              setAsked('reactivate');
            }}
          >
            Reactivate
          </Button>
        ) : (
          <Button
            variant="outlined"
            startIcon={<BlockIcon />}
            onClick={() => {
              setAsked('suspend');
            }}
          >
            Suspend
          </Button>
        )}
        <Button
          variant="outlined"
          startIcon={<KeyOffIcon />}
          onClick={() => {
            setAsked('revoke-tokens');
          }}
        >
          Revoke tokens
        </Button>
        <IfRole role="admin">
          <Button
            color="error"
            startIcon={<DeleteIcon />}
            onClick={() => {
              setAsked('delete');
            }}
          >
            Delete
          </Button>
        </IfRole>
      </Stack>

      <ConfirmDialog
        open={asked === 'suspend'}
        title={`Suspend ${displayName}?`}
        confirmLabel="Suspend"
        requireReason
        danger
        onConfirm={async ({ reason = '' }) => {
          await partnerApi.suspend(id, reason);
          await done(`${displayName} is suspended.`);
        }}
        onClose={close}
      >
        <Typography>
          It gets no tokens, and those it has are refused, from its next call on. Nothing is lost: reactivating undoes
          it, and tokens that have not ended by then work again.
        </Typography>
      </ConfirmDialog>
      <ConfirmDialog
        open={asked === 'reactivate'}
        title={`Reactivate ${displayName}?`}
        confirmLabel="Reactivate"
        requireReason="optional"
        onConfirm={async ({ reason }) => {
          await partnerApi.reactivate(id, reason);
          await done(`${displayName} may call again.`);
        }}
        onClose={close}
      >
        <Typography>
          It may get tokens again with the password it has, and tokens from before that have not ended work again.
        </Typography>
      </ConfirmDialog>
      <ConfirmDialog
        open={asked === 'revoke-tokens'}
        title={`Revoke all tokens of ${displayName}?`}
        confirmLabel="Revoke tokens"
        requireReason
        danger
        onConfirm={async ({ reason = '' }) => {
          await partnerApi.revokeTokens(id, reason);
          await done(`The tokens of ${displayName} are revoked.`);
        }}
        onClose={close}
      >
        <Typography>
          Every token it has stops working now, for good. Its passwords stay: it can get a new token at once. To keep it
          out, suspend it.
        </Typography>
      </ConfirmDialog>
      <ConfirmDialog
        open={asked === 'delete'}
        title={`Delete ${displayName}?`}
        confirmLabel="Delete for good"
        typed={username}
        danger
        onConfirm={async () => {
          await partnerApi.delete(id);
          redirect('list', 'channel-users');
          await done(`${displayName} is deleted.`);
        }}
        onClose={close}
      >
        <Typography>
          Its passwords and tokens stop working now, and this cannot be undone. Its audit trail stays. To stop it for a
          while, suspend it instead.
        </Typography>
      </ConfirmDialog>
    </IfRole>
  );
}
