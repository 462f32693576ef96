import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Chip from '@mui/material/Chip';
import Dialog from '@mui/material/Dialog';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import DialogTitle from '@mui/material/DialogTitle';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useId, useState } from 'react';
import { useNotify } from 'react-admin';
import { ConfirmDialog, Time } from '../feedback.tsx';
import { IfRole } from '../permissions.ts';
import { Refusal, useSubmission } from '../submission.tsx';
import { PagedList } from './paged-list.tsx';
import { type ChannelUser, type Grant, partnerApi } from './partner-api.ts';
import { useRefreshPartners } from './state-actions.tsx';
import { countOf } from './words.ts';

const entriesOf = (text: string): string[] =>
  [...new Set(text.split(/[\n,;]+/).map((entry) => entry.trim()))].filter(Boolean);

const isPast = (time: string | null): boolean => time !== null && Date.parse(time) <= Date.now();

interface GiveDialogProps {
  readonly partner: ChannelUser;
  readonly onClose: () => void;
}

/** Many resources of one type at once, on the same terms. */
function GiveDialog({ partner, onClose }: GiveDialogProps) {
  const titleId = useId();
  const notify = useNotify();
  const refresh = useRefreshPartners();
  const [type, setType] = useState('property');
  const [ids, setIds] = useState('');
  const [permissions, setPermissions] = useState('');
  const [expiry, setExpiry] = useState('');
  const resourceIds = entriesOf(ids);
  const submission = useSubmission(async () => {
    // Return in a field sends the form, too.
    if (resourceIds.length === 0) return;
    const { given, changed } = await partnerApi.giveGrants(partner.id, {
      resourceType: type.trim(),
      resourceIds,
      permissions: entriesOf(permissions),
      expiresAt: expiry === '' ? null : new Date(expiry).toISOString(),
    });
    const words = changed > 0 ? `, ${countOf(changed, 'grant', 'grants')} changed` : '';
    notify(`${countOf(given, 'grant', 'grants')} given${words}.`, { type: 'success' });
    await refresh();
    onClose();
  });
  const { busy, errors, onSubmit } = submission;
  const close = (): void => {
    if (!busy) onClose();
  };
  return (
    <Dialog open onClose={close} aria-labelledby={titleId} fullWidth maxWidth="sm">
      <DialogTitle id={titleId}>What may {partner.displayName} see?</DialogTitle>
      <form onSubmit={onSubmit} noValidate>
        <DialogContent sx={{ pt: 0 }}>
          <Stack spacing={2} useFlexGap sx={{ pt: 1 }}>
            <TextField
              fullWidth
              required
              label="Kind of resource"
              value={type}
              onChange={({ target }) => {
                setType(target.value);
              }}
              error={errors['resourceType'] !== undefined}
              helperText={errors['resourceType'] ?? 'As the module names it, such as property.'}
              slotProps={{ htmlInput: { maxLength: 32 } }}
            />
            <TextField
              fullWidth
              required
              multiline
              minRows={2}
              maxRows={8}
              autoFocus
              label="Ids"
              value={ids}
              onChange={({ target }) => {
                setIds(target.value);
              }}
              error={errors['resourceIds'] !== undefined}
              helperText={
                errors['resourceIds'] ??
                (resourceIds.length > 1
                  ? countOf(resourceIds.length, 'id', 'ids')
                  : 'One a line, or separated by commas; 1,000 at most.')
              }
            />
            <TextField
              fullWidth
              label="Permissions (optional)"
              value={permissions}
              onChange={({ target }) => {
                setPermissions(target.value);
              }}
              error={errors['permissions'] !== undefined}
              helperText={errors['permissions'] ?? 'Besides seeing it, such as write; separated by commas.'}
            />
            <TextField
              fullWidth
              type="datetime-local"
              label="Ends (optional)"
              value={expiry}
              onChange={({ target }) => {
                setExpiry(target.value);
              }}
              error={errors['expiresAt'] !== undefined}
              helperText={errors['expiresAt'] ?? 'In your time zone. Empty: it does not end by itself.'}
              slotProps={{ inputLabel: { shrink: true } }}
            />
            <Refusal submission={submission} fields={['resourceType', 'resourceIds', 'permissions', 'expiresAt']} />
          </Stack>
        </DialogContent>
        <DialogActions>
          <Button onClick={close} disabled={busy}>
            Cancel
          </Button>
          <Button type="submit" variant="contained" loading={busy} disabled={resourceIds.length === 0}>
            Grant
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

interface RowProps {
  readonly grant: Grant;
  readonly onWithdraw: () => void;
}

function Row({ grant, onWithdraw }: RowProps) {
  const { resourceType, resourceId, permissions, grantedAt, expiresAt } = grant;
  return (
    <Box sx={{ display: 'flex', flexWrap: 'wrap', gap: 1, alignItems: 'center' }}>
      <Box sx={{ flex: '1 1 240px', minWidth: 0 }}>
        <Stack direction="row" spacing={1} useFlexGap sx={{ alignItems: 'center', flexWrap: 'wrap' }}>
          <Typography variant="subtitle1" component="h3">
            {resourceType} {resourceId}
          </Typography>
          {permissions.map((permission) => (
            <Chip key={permission} size="small" variant="outlined" label={permission} />
          ))}
          {isPast(expiresAt) && <Chip size="small" color="warning" variant="outlined" label="Expired" />}
        </Stack>
        <Typography variant="body2" color="textSecondary">
          Granted <Time value={grantedAt} />
          {expiresAt !== null && (
            <>
              {' · '}
              {isPast(expiresAt) ? 'ended' : 'ends'} <Time value={expiresAt} />
            </>
          )}
        </Typography>
      </Box>
      <IfRole role="operator">
        <Button color="error" size="small" aria-label={`Withdraw ${resourceType} ${resourceId}`} onClick={onWithdraw}>
          Withdraw
        </Button>
      </IfRole>
    </Box>
  );
}

/** Which resources of the modules this partner may see, and what else it may do with them. */
export function GrantsTab({ partner }: { partner: ChannelUser }) {
  const [isGiving, setGiving] = useState(false);
  const [withdrawing, setWithdrawing] = useState<Grant>();
  const notify = useNotify();
  const refresh = useRefreshPartners();
  return (
    <Stack spacing={2} useFlexGap>
      <IfRole role="operator">
        <Box>
          <Button
            variant="contained"
            onClick={() => {
              setGiving(true);
            }}
          >
            Grant resources
          </Button>
        </Box>
      </IfRole>
      <PagedList
        queryKey={['channel-users', 'grants', partner.id]}
        ask={async (cursor) => {
          const { items, nextCursor } = await partnerApi.grants(partner.id, cursor);
          return {
            items: items.map((grant) => ({ ...grant, id: `${grant.resourceType}/${grant.resourceId}` })),
            nextCursor,
          };
        }}
        title="What it may see"
        what="the grants"
        more="Show more"
        nothing="Nothing is granted. Modules that ask for grants answer as if their resources did not exist."
      >
        {(grant) => (
          <Row
            grant={grant}
            onWithdraw={() => {
              setWithdrawing(grant);
            }}
          />
        )}
      </PagedList>
      {isGiving && (
        <GiveDialog
          partner={partner}
          onClose={() => {
            setGiving(false);
          }}
        />
      )}
      <ConfirmDialog
        open={withdrawing !== undefined}
        title={`Withdraw ${withdrawing?.resourceType ?? ''} ${withdrawing?.resourceId ?? ''}?`}
        confirmLabel="Withdraw"
        danger
        onConfirm={async () => {
          if (withdrawing) await partnerApi.withdrawGrant(partner.id, withdrawing);
          notify('The grant is withdrawn.', { type: 'success' });
          await refresh();
        }}
        onClose={() => {
          setWithdrawing(undefined);
        }}
      >
        <Typography>
          From its next call on it is told that there is no such {withdrawing?.resourceType ?? 'resource'}. What it did
          stays as it is.
        </Typography>
      </ConfirmDialog>
    </Stack>
  );
}
