import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import CardActionArea from '@mui/material/CardActionArea';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { Title } from 'react-admin';
import { Link } from 'react-router-dom';
import { api } from '../api.ts';
import { Time } from '../feedback.tsx';
import { Loaded, Nothing } from '../partners/loading-states.tsx';
import { IfRole } from '../permissions.ts';
import type { PartnerFilter } from '../partners/partner-filters.tsx';
import { reasonWords } from '../../../src/partner-page/words/sign-in.ts';
import { countOf } from '../partners/words.ts';
import type { Schemas } from '../types.ts';
import { TokenChart } from './token-chart.tsx';

type OverviewData = Schemas['OverviewDto'];
type Failing = OverviewData['failing']['items'][number];
type Named = Pick<Schemas['ChannelUserDto'], 'id' | 'username' | 'displayName'>;

const EVERY_MS = 60_000;

/** The path of the list of partners with the filter that matches a number. */
function listOf(filter: PartnerFilter, sort?: string): string {
  const search = new URLSearchParams({ filter: JSON.stringify(filter), page: '1' });
  if (sort !== undefined) search.set('sort', sort);
  return `/channel-users?${search.toString()}`;
}

function Figure({ to, value, words }: { to: string; value: number; words: string }) {
  return (
    <Card variant="outlined">
      <CardActionArea component={Link} to={to} sx={{ p: 2, height: '100%' }}>
        <Typography variant="h4" component="span" sx={{ display: 'block', fontVariantNumeric: 'tabular-nums' }}>
          {value.toLocaleString()}
        </Typography>
        <Typography component="span" color="textSecondary">
          {words}
        </Typography>
      </CardActionArea>
    </Card>
  );
}

function Panel({ title, children, all }: { title: string; children: ReactNode; all?: ReactNode }) {
  return (
    <Card variant="outlined" component="section" aria-label={title} sx={{ p: 2, minWidth: 0 }}>
      <Box sx={{ display: 'flex', flexWrap: 'wrap', gap: 1, alignItems: 'center', mb: 1 }}>
        <Typography variant="h6" component="h2" sx={{ flexGrow: 1 }}>
          {title}
        </Typography>
        {all}
      </Box>
      {children}
    </Card>
  );
}

const SeeAll = ({ to, count, what }: { to: string; count: number; what: string }): ReactNode =>
  count === 0 ? null : (
    <Button component={Link} to={to} size="small" aria-label={`See all ${count.toLocaleString()} ${what}`}>
      See all {count.toLocaleString()}
    </Button>
  );

function Lines<T extends Named>({
  items,
  tab,
  children,
}: {
  items: T[];
  tab: string;
  children: (item: T) => ReactNode;
}) {
  return (
    <Box component="ul" sx={{ listStyle: 'none', p: 0, m: 0 }}>
      {items.map((item, index) => (
        <Box
          component="li"
          key={`${item.id} ${String(index)}`}
          sx={{ py: 1, borderTop: index === 0 ? 0 : 1, borderColor: 'divider', overflowWrap: 'anywhere' }}
        >
          <Typography
            component={Link}
            to={`/channel-users/${item.id}/show?tab=${tab}`}
            sx={{ color: 'primary.main', fontWeight: 500 }}
          >
            <bdi>{item.displayName}</bdi>
          </Typography>
          <Typography variant="body2" color="textSecondary">
            {children(item)}
          </Typography>
        </Box>
      ))}
    </Box>
  );
}

/** Why a partner was refused, and whether the reason still holds. */
function Failure({ reason, count, reasons, since, lastAt, status, isOver, changedAt }: Failing) {
  const counted = reasons.length > 0 ? reasons : [{ reason, count }];
  return (
    <>
      {countOf(count, 'refusal', 'refusals')} since <Time value={since} relative />, last{' '}
      <Time value={lastAt} relative />:{' '}
      {counted.map((each) => `${each.count.toLocaleString()} × ${reasonWords(each.reason)}`).join(', ')}.
      <Box component="span" sx={{ display: 'block', color: 'text.primary' }}>
        {isOver ? (
          <>
            {reason === 'account_suspended' ? 'Reactivated' : 'No longer expired'}
            <Since at={changedAt} />. The partner has not tried again since.
          </>
        ) : status !== 'active' ? (
          `The partner is ${status} now.`
        ) : (
          changedAt !== null && (
            <>
              Changed
              <Since at={changedAt} />. The partner has not tried again since.
            </>
          )
        )}
      </Box>
    </>
  );
}

const Since = ({ at }: { at: string | null }): ReactNode =>
  at !== null && (
    <>
      {' '}
      <Time value={at} relative />
    </>
  );

function Figures({ data }: { data: OverviewData }) {
  const { channelUsers, failing, expiring, silent } = data;
  return (
    <Box
      sx={{
        display: 'grid',
        gap: 2,
        gridTemplateColumns: { xs: 'repeat(2, minmax(0, 1fr))', md: 'repeat(6, minmax(0, 1fr))' },
      }}
    >
      <Figure to={listOf({ status: 'active' })} value={channelUsers.active} words="active" />
      <Figure to={listOf({ status: 'suspended' })} value={channelUsers.suspended} words="suspended" />
      <Figure to={listOf({ status: 'expired' })} value={channelUsers.expired} words="expired" />
      <Figure to={listOf({ failing: true })} value={failing.total} words="failing now" />
      <Figure to={listOf({ expiringWithinDays: 30 })} value={expiring.total} words="expiring in 30 days" />
      <Figure to={listOf({ silentForDays: 30 })} value={silent.total} words="silent for 30 days" />
    </Box>
  );
}

function Panels({ data: { tokens, failing, expiring } }: { data: OverviewData }) {
  return (
    <>
      <Panel title={`${countOf(tokens.last24h, 'token', 'tokens')} in the last 24 hours`}>
        <TokenChart hours={tokens.hours} />
      </Panel>
      <Box
        sx={{ display: 'grid', gap: 2, gridTemplateColumns: { xs: 'minmax(0, 1fr)', md: 'repeat(2, minmax(0, 1fr))' } }}
      >
        <Panel
          title="Failing now"
          all={<SeeAll to={listOf({ failing: true })} count={failing.total} what="that are failing" />}
        >
          {failing.items.length === 0 ? (
            <Nothing>None: every partner that was refused in the last 24 hours has obtained a token since.</Nothing>
          ) : (
            <Lines items={failing.items} tab="activity">
              {(item) => <Failure {...item} />}
            </Lines>
          )}
        </Panel>
        <Panel
          title="Expiring in 30 days"
          all={<SeeAll to={listOf({ expiringWithinDays: 30 })} count={expiring.total} what="that expire" />}
        >
          {expiring.items.length === 0 ? (
            <Nothing>Nothing expires in the next 30 days.</Nothing>
          ) : (
            <Lines items={expiring.items} tab="credentials">
              {({ credentialId, label, expiresAt }) => (
                <>
                  {credentialId === null ? 'The account' : `Password “${label ?? ''}”`} ends{' '}
                  <Time value={expiresAt} relative />
                </>
              )}
            </Lines>
          )}
        </Panel>
      </Box>
    </>
  );
}

/** The first page of the console: numbers of partners, their sign-ins, and partners that need help. */
export default function Overview() {
  const query = useQuery({
    queryKey: ['overview'],
    queryFn: async ({ signal }) => (await api<OverviewData>('GET', '/admin/overview', { signal })).data,
    refetchInterval: EVERY_MS,
  });
  return (
    <Box sx={{ mt: 2, maxWidth: 1400, mx: 'auto' }}>
      <Title title="Overview" />
      <Box sx={{ display: 'flex', flexWrap: 'wrap', gap: 1, alignItems: 'center', mb: 2 }}>
        <Typography component="h1" variant="h5" sx={{ flexGrow: 1 }}>
          {query.data ? countOf(query.data.channelUsers.total, 'partner', 'partners') : 'Overview'}
        </Typography>
        {query.data && (
          <Typography variant="body2" color="textSecondary">
            as of <Time value={query.data.at} />
          </Typography>
        )}
      </Box>
      <Loaded query={query} what="the overview" rows={6}>
        {(data) => (
          <Stack spacing={2} useFlexGap>
            <Figures data={data} />
            {data.channelUsers.total === 0 ? (
              <Nothing>
                There are no partners yet.{' '}
                <IfRole role="operator">
                  <Link to="/channel-users/create">Add the first one</Link>: it takes a minute.
                </IfRole>
              </Nothing>
            ) : (
              <Panels data={data} />
            )}
          </Stack>
        )}
      </Loaded>
    </Box>
  );
}
