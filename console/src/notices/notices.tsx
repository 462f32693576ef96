import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Chip, { type ChipProps } from '@mui/material/Chip';
import MenuItem from '@mui/material/MenuItem';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { Link } from 'react-router-dom';
import { api } from '../api.ts';
import { Time } from '../feedback.tsx';
import { Page } from '../page.tsx';
import { PagedList } from '../partners/paged-list.tsx';
import { countOf } from '../partners/words.ts';
import { IfRole } from '../permissions.ts';
import { useAction } from '../submission.tsx';
import type { Notice, NoticeDelivery, Schemas, Webhook } from '../types.ts';
import { ERRORS, MEANING, nameOf, STATES } from './words.ts';

const NOTICES = 'notices';
const COLOR: Record<NoticeDelivery['state'], ChipProps['color']> = {
  pending: 'info',
  failed: 'warning',
  delivered: 'success',
  'given-up': 'error',
};

interface Subject {
  readonly channelUser?: { readonly id: string; readonly username: string; readonly displayName: string };
  readonly credential?: { readonly fingerprint: string | null; readonly expiresAt: string | null };
  readonly expiresAt?: string;
  readonly withinDays?: number;
  readonly refusals?: number;
  readonly reason?: string;
  readonly startedBy?: string | null;
  readonly withdrawnBy?: string;
  readonly endedBy?: string;
}

/** Says of a change of passwords that the partner made it itself. */
function byPartner({ startedBy, withdrawnBy, endedBy }: Subject): string | undefined {
  if (withdrawnBy === 'account') return 'withdrawn by the partner itself';
  if (endedBy === 'account') return 'ended by the partner itself';
  return startedBy === 'account' ? 'created by the partner itself' : undefined;
}

interface Leak {
  readonly descendants?: readonly object[];
  readonly liveCredentials?: number;
}

/** What a report of a leaked password ended, and what works still. */
function LeakDetails({ descendants = [], liveCredentials }: Leak): ReactNode {
  return (
    <Typography variant="body2" component="div">
      {descendants.length > 0 && `${countOf(descendants.length, 'password', 'passwords')} created with it ended too. `}
      {liveCredentials === 0
        ? 'No password of this partner works any more: create a new one.'
        : `${countOf(liveCredentials ?? 0, 'password of this partner works', 'passwords of this partner work')} still.`}
    </Typography>
  );
}

/** One delivery: whether it arrived, why it did not, and when it is tried again. */
function Delivery({
  notice,
  delivery,
  webhook,
}: {
  notice: Notice;
  delivery: NoticeDelivery;
  webhook: Webhook | undefined;
}): ReactNode {
  const client = useQueryClient();
  const { busy, run } = useAction();
  const { state, lastError, lastStatus, attempts, nextAttemptAt, deliveredAt } = delivery;
  const retry = (): void => {
    const sent = api('POST', `/admin/notices/${notice.id}/deliveries/${delivery.id}/retry`);
    // The delivery takes a moment. The button above the list shows its result.
    void run(sent, 'Sending.').then(() => client.invalidateQueries({ queryKey: [NOTICES] }));
  };
  return (
    <Stack
      component="li"
      direction="row"
      spacing={1}
      useFlexGap
      sx={{ alignItems: 'center', flexWrap: 'wrap', minHeight: 32 }}
    >
      <Chip size="small" variant="outlined" color={COLOR[state]} label={STATES[state]} />
      <Typography variant="body2">{webhook ? nameOf(webhook) : 'A webhook'}</Typography>
      <Typography variant="body2" color="textSecondary" component="div">
        {state === 'delivered' && <Time value={deliveredAt} relative />}
        {state !== 'delivered' && lastError !== null && (
          <>
            {ERRORS[lastError]}
            {lastStatus !== null && ` (${String(lastStatus)})`} ·{' '}
            {attempts === 1 ? 'one attempt' : `${String(attempts)} attempts`}
          </>
        )}
        {state === 'failed' && (
          <>
            {' '}
            · next <Time value={nextAttemptAt} relative />
          </>
        )}
      </Typography>
      {state !== 'pending' && (
        <IfRole role="operator">
          <Button
            size="small"
            loading={busy}
            onClick={retry}
            aria-label={`Send ${MEANING[notice.type].toLowerCase()} again to ${webhook ? nameOf(webhook) : 'its webhook'}`}
          >
            {state === 'failed' ? 'Try now' : 'Send again'}
          </Button>
        </IfRole>
      )}
    </Stack>
  );
}

function NoticeRow({ notice, webhooks }: { notice: Notice; webhooks: Map<string, Webhook> }): ReactNode {
  const subject = notice.data as Subject;
  const { channelUser, credential, expiresAt, withinDays, refusals, reason } = subject;
  const own = byPartner(subject);
  const expiry = expiresAt ?? credential?.expiresAt;
  return (
    <Stack spacing={0.5}>
      <Stack direction="row" spacing={1} useFlexGap sx={{ flexWrap: 'wrap', alignItems: 'baseline' }}>
        <Typography component="span" sx={{ fontWeight: 600 }}>
          {MEANING[notice.type]}
        </Typography>
        {channelUser && (
          <Typography component={Link} to={`/channel-users/${channelUser.id}`} color="primary">
            <bdi>{channelUser.displayName}</bdi>
          </Typography>
        )}
        <Typography variant="body2" color="textSecondary" component="span">
          <Time value={notice.at} relative />
        </Typography>
      </Stack>
      {(withinDays !== undefined ||
        refusals !== undefined ||
        own !== undefined ||
        typeof credential?.fingerprint === 'string') && (
        <Typography variant="body2" color="textSecondary" component="div">
          {typeof credential?.fingerprint === 'string' &&
            `Password ${credential.fingerprint}${own === undefined ? '' : ','} `}
          {withinDays !== undefined && expiry != null && (
            <>
              expires <Time value={expiry} />
            </>
          )}
          {own}
          {refusals !== undefined && `${String(refusals)} refusals, the last: ${(reason ?? '').replaceAll('_', ' ')}`}
        </Typography>
      )}
      {notice.type === 'credential.reported_leaked' && <LeakDetails {...notice.data} />}
      {notice.deliveries.length === 0 ? (
        <Typography variant="body2" color="textSecondary">
          No webhook is set to receive this notice.
        </Typography>
      ) : (
        <Box component="ul" sx={{ listStyle: 'none', p: 0, m: 0 }}>
          {notice.deliveries.map((delivery) => (
            <Delivery
              key={delivery.id}
              notice={notice}
              delivery={delivery}
              webhook={webhooks.get(delivery.webhookId)}
            />
          ))}
        </Box>
      )}
    </Stack>
  );
}

function Choice({
  label,
  value,
  choices,
  onChange,
}: {
  label: string;
  value: string;
  choices: [id: string, name: string][];
  onChange: (value: string) => void;
}): ReactNode {
  return (
    <TextField
      select
      size="small"
      label={label}
      value={value}
      onChange={(event) => {
        onChange(event.target.value);
      }}
      sx={{ minWidth: 220 }}
      slotProps={{ select: { displayEmpty: true }, inputLabel: { shrink: true } }}
    >
      <MenuItem value="">All</MenuItem>
      {choices.map(([id, name]) => (
        <MenuItem key={id} value={id}>
          {name}
        </MenuItem>
      ))}
    </TextField>
  );
}

/** The notices, and whether they were delivered to the webhooks. */
export default function Notices(): ReactNode {
  const [type, setType] = useState('');
  const [state, setState] = useState('');
  const [webhook, setWebhook] = useState('');
  const { data } = useQuery({
    queryKey: ['webhooks'],
    queryFn: async () => (await api<Schemas['WebhookListDto']>('GET', '/admin/webhooks')).data.items,
  });
  const webhooks = new Map((data ?? []).map((each) => [each.id, each]));
  return (
    <Page title="Notices">
      <Stack direction={{ xs: 'column', sm: 'row' }} spacing={2} useFlexGap sx={{ flexWrap: 'wrap' }}>
        <Choice label="What" value={type} choices={Object.entries(MEANING)} onChange={setType} />
        <Choice label="Delivery" value={state} choices={Object.entries(STATES)} onChange={setState} />
        {webhooks.size > 0 && (
          <Choice
            label="Webhook"
            value={webhook}
            choices={[...webhooks.values()].map((each) => [each.id, nameOf(each)])}
            onChange={setWebhook}
          />
        )}
      </Stack>
      <PagedList<Notice>
        queryKey={[NOTICES, type, state, webhook]}
        ask={async (cursor) =>
          (
            await api<Schemas['NoticePageDto']>('GET', '/admin/notices', {
              query: { type, state, webhook, cursor, limit: 25 },
            })
          ).data
        }
        title="Newest first"
        what="the notices"
        nothing="There are no notices, or none that match these filters."
      >
        {(notice) => <NoticeRow notice={notice} webhooks={webhooks} />}
      </PagedList>
    </Page>
  );
}
