import BlockIcon from '@mui/icons-material/Block';
import DeleteIcon from '@mui/icons-material/DeleteOutlined';
import KeyOffIcon from '@mui/icons-material/KeyOff';
import PlayIcon from '@mui/icons-material/PlayArrow';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQueryClient } from '@tanstack/react-query';
import { useRef, useState } from 'react';
import { useNotify, useRedirect } from 'react-admin';
import { ConfirmDialog } from '../feedback.tsx';
import { IfRole } from '../permissions.ts';
import { type ChannelUser, partnerApi } from './partner-api.ts';

type Action = 'suspend' | 'reactivate' | 'revoke-tokens' | 'delete';

/** @returns a function that reloads all data about partners */
export function useRefreshPartners(): () => Promise<void> {
  const queries = useQueryClient();
  return async () => {
    await Promise.all([
      queries.invalidateQueries({ queryKey: ['channel-users'] }),
      queries.invalidateQueries({ queryKey: ['overview'] }),
    ]);
  };
}

/** The actions on a partner as a whole. Each explains what will happen and asks for confirmation. */
export function StateActions({ partner: { id, username, displayName, status } }: { partner: ChannelUser }) {
  const [asked, setAsked] = useState<Action>();
  const isDeleted = useRef(false);
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
        title={
          <>
            Suspend <bdi>{displayName}</bdi>?
          </>
        }
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
          The partner gets no new tokens, and its existing tokens are refused from the next call on. Reactivating undoes
          this: tokens that have not expired by then work again.
        </Typography>
      </ConfirmDialog>
      <ConfirmDialog
        open={asked === 'reactivate'}
        title={
          <>
            Reactivate <bdi>{displayName}</bdi>?
          </>
        }
        confirmLabel="Reactivate"
        requireReason="optional"
        onConfirm={async ({ reason }) => {
          await partnerApi.reactivate(id, reason);
          await done(`${displayName} is active again.`);
        }}
        onClose={close}
      >
        <Typography>
          The partner can get tokens again with its current password, and its unexpired tokens work again.
        </Typography>
      </ConfirmDialog>
      <ConfirmDialog
        open={asked === 'revoke-tokens'}
        title={
          <>
            Revoke all tokens of <bdi>{displayName}</bdi>?
          </>
        }
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
          All tokens of the partner stop working now, permanently. Its passwords keep working, so it can get a new token
          at once. To keep the partner out, suspend it.
        </Typography>
      </ConfirmDialog>
      <ConfirmDialog
        open={asked === 'delete'}
        title={
          <>
            Delete <bdi>{displayName}</bdi>?
          </>
        }
        confirmLabel="Delete permanently"
        typed={username}
        danger
        onConfirm={async () => {
          await partnerApi.delete(id);
          isDeleted.current = true;
        }}
        onClose={() => {
          close();
          if (!isDeleted.current) return;
          redirect('list', 'channel-users');
          void done(`${displayName} is deleted.`);
        }}
      >
        <Typography>
          Its passwords and tokens stop working now. This cannot be undone. Its audit trail stays. To stop the partner
          for a while, suspend it instead.
        </Typography>
      </ConfirmDialog>
    </IfRole>
  );
}
