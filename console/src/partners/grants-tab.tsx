import Autocomplete from '@mui/material/Autocomplete';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Chip from '@mui/material/Chip';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNotify } from 'react-admin';
import { ConfirmDialog, Time } from '../feedback.tsx';
import { FormDialog } from '../leave-guard.tsx';
import { IfRole } from '../permissions.ts';
import { Refusal, useSubmission } from '../submission.tsx';
import { PagedList } from './paged-list.tsx';
import { type ChannelUser, type Grant, partnerApi } from './partner-api.ts';
import { useRefreshPartners } from './state-actions.tsx';
import { countOf } from './words.ts';

const entriesOf = (text: string): string[] =>
  [...new Set(text.split(/[\n,;]+/).map((entry) => entry.trim()))].filter(Boolean);

interface GrantPages {
  readonly pages: readonly { readonly items: readonly Grant[] }[];
}

/** The types of resources that the application's routes name, and those of the grants loaded so far. */
const kindsOf = (
  asked: readonly { readonly name: string }[],
  seen: readonly (readonly [unknown, GrantPages | undefined])[],
): string[] => {
  const grants = seen.flatMap(([, data]) => data?.pages.flatMap(({ items }) => items) ?? []);
  return [...new Set([...asked.map(({ name }) => name), ...grants.map(({ resourceType }) => resourceType)])];
};

const isPast = (time: string | null): boolean => time !== null && Date.parse(time) <= Date.now();

interface GiveDialogProps {
  readonly partner: ChannelUser;
  /** Types of resources to choose from. */
  readonly kinds: string[];
  readonly onClose: () => void;
}

/** Grants many resources of one type at once, on the same terms. */
function GiveDialog({ partner, kinds, onClose }: GiveDialogProps) {
  const notify = useNotify();
  const refresh = useRefreshPartners();
  const [typedType, setType] = useState<string>();
  const type = typedType ?? kinds[0] ?? '';
  const [ids, setIds] = useState('');
  const [permissions, setPermissions] = useState('');
  const [expiry, setExpiry] = useState('');
  const resourceIds = entriesOf(ids);
  const submission = useSubmission(
    async () => {
      // Enter in a field also submits the form.
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
    },
    ids.trim() !== '' || permissions.trim() !== '' || expiry !== '',
  );
  const { busy, errors, onSubmit } = submission;
  return (
    <FormDialog
      open
      title={
        <>
          What may <bdi>{partner.displayName}</bdi> see?
        </>
      }
      busy={busy}
      onClose={onClose}
    >
      <form onSubmit={onSubmit} noValidate>
        <DialogContent sx={{ pt: 0 }}>
          <Stack spacing={2} useFlexGap sx={{ pt: 1 }}>
            <Autocomplete
              freeSolo
              disableClearable
              options={kinds}
              // Shows all options, since the field starts with the first one, which would filter out the others.
              filterOptions={(all) => all}
              inputValue={type}
              onInputChange={(_, typed) => {
                setType(typed);
              }}
              renderInput={(params) => (
                <TextField
                  {...params}
                  required
                  label="Kind of resource"
                  error={errors['resourceType'] !== undefined}
                  helperText={errors['resourceType'] ?? 'Pick one, or type the name that a module uses.'}
                />
              )}
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
                  : 'One per line, or separated by commas; at most 1,000.')
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
              helperText={
                errors['permissions'] ?? 'Permissions beyond seeing the resource, such as write, separated by commas.'
              }
            />
            <TextField
              fullWidth
              type="datetime-local"
              label="Expires (optional)"
              value={expiry}
              onChange={({ target }) => {
                setExpiry(target.value);
              }}
              error={errors['expiresAt'] !== undefined}
              helperText={errors['expiresAt'] ?? 'In your time zone. Empty: never.'}
              slotProps={{ inputLabel: { shrink: true } }}
            />
            <Refusal submission={submission} fields={['resourceType', 'resourceIds', 'permissions', 'expiresAt']} />
          </Stack>
        </DialogContent>
        <DialogActions>
          <Button onClick={onClose} disabled={busy}>
            Cancel
          </Button>
          <Button type="submit" variant="contained" loading={busy} disabled={resourceIds.length === 0}>
            Grant
          </Button>
        </DialogActions>
      </form>
    </FormDialog>
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
              {isPast(expiresAt) ? 'expired' : 'expires'} <Time value={expiresAt} />
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

/** The module's resources that this partner may see, and its permissions for them. */
export function GrantsTab({ partner }: { partner: ChannelUser }) {
  const [isGiving, setGiving] = useState(false);
  const { data: resourceTypes } = useQuery({
    queryKey: ['resource-types'],
    queryFn: partnerApi.resourceTypes,
    staleTime: 60_000,
  });
  const queries = useQueryClient();
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
        title="Granted resources"
        what="the grants"
        more="Show more"
        nothing="Nothing is granted. To this partner, resources that need a grant appear not to exist."
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
          kinds={kindsOf(
            resourceTypes?.items ?? [],
            queries.getQueriesData<GrantPages>({ queryKey: ['channel-users', 'grants'] }),
          )}
          onClose={() => {
            setGiving(false);
          }}
        />
      )}
      <ConfirmDialog
        open={withdrawing !== undefined}
        title={
          <>
            Withdraw {withdrawing?.resourceType} <bdi>{withdrawing?.resourceId}</bdi>?
          </>
        }
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
          From the next call on, Latchkey tells the partner that there is no such{' '}
          {withdrawing?.resourceType ?? 'resource'}. Earlier changes by the partner stay.
        </Typography>
      </ConfirmDialog>
    </Stack>
  );
}
