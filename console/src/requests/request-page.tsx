import Alert from '@mui/material/Alert';
import AlertTitle from '@mui/material/AlertTitle';
import Box from '@mui/material/Box';
import MuiLink from '@mui/material/Link';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { Link, useLocation, useParams } from 'react-router-dom';
import { requestFacts, requestIdIn } from '../../../src/partner-page/words/request.ts';
import { api, ApiError, mayRetry } from '../api.ts';
import { Actor, Target } from '../audit-links.tsx';
import { actionTitle } from '../audit-words.ts';
import { Fact, Page, Section } from '../page.tsx';
import { Loaded } from '../partners/loading-states.tsx';
import { Words } from '../text.tsx';
import type { Schemas } from '../types.ts';
import { RequestField, type RequestPageState, useSearchInBar } from './request-search.tsx';

type Found = Schemas['StaffRequestRecordDto'];

const WHERE =
  'Every answer has it in the header X-Request-Id, and an error also in its body as requestId. The tabs Sign-ins and Errors of a partner show it, too.';

/** The tab of the partner's page that has the request, and its name in a link. */
const TABS: Partial<Record<Found['kind'], readonly [tab: string, words: string]>> = {
  'sign-in': ['activity', 'All its sign-ins'],
  call: ['errors', 'All its refused and failed calls'],
};

function Whose({ kind, channelUser }: Found): ReactNode {
  if (channelUser === null) return kind === 'change' ? null : <Fact label="Partner">It has been deleted.</Fact>;
  const path = `/channel-users/${channelUser.id}/show`;
  const [tab, words] = TABS[kind] ?? [];
  return (
    <Fact label="Partner">
      <MuiLink component={Link} to={path}>
        <bdi>{channelUser.displayName}</bdi>
      </MuiLink>{' '}
      ({channelUser.username})
      {tab !== undefined && (
        <>
          {' · '}
          <MuiLink component={Link} to={`${path}?tab=${tab}`}>
            {words}
          </MuiLink>
        </>
      )}
    </Fact>
  );
}

function Changes({ events }: Found): ReactNode {
  return (
    <Section title="What it changed">
      <Box component="ul" sx={{ listStyle: 'none', p: 0, m: 0 }}>
        {events.map((event) => (
          <Box component="li" key={event.id} sx={{ py: 1, overflowWrap: 'anywhere' }}>
            <Typography>
              <span title={event.action}>{actionTitle(event.action)}</span>: <Target target={event.target} />
            </Typography>
            <Typography variant="body2" color="textSecondary">
              by <Actor actor={event.actor} />
              {event.address !== null && ` from ${event.address}`}
              {event.reason !== null && ` · Reason: ${event.reason}`}
            </Typography>
          </Box>
        ))}
      </Box>
    </Section>
  );
}

/** What was asked, what was answered, why, and what to do. */
function RequestRecord({ found }: { found: Found }): ReactNode {
  const { requestId, kind, events } = found;
  const asked =
    kind === 'change' ? [...new Set(events.map(({ action }) => actionTitle(action)))].join(', ') : found.asked;
  return (
    <>
      <Section title={`Request ${requestId}`}>
        <Box component="dl" sx={{ m: 0, display: 'grid', gap: 1.5 }}>
          {requestFacts({ ...found, asked }).map(([name, text]) => (
            <Fact key={name} label={name}>
              <Words text={text} />
            </Fact>
          ))}
          <Whose {...found} />
        </Box>
      </Section>
      {events.length > 0 && <Changes {...found} />}
    </>
  );
}

const Malformed = (): ReactNode => (
  <Alert severity="warning">
    <AlertTitle>This is not a request id</AlertTitle>A request id has 32 hexadecimal digits in five groups, such as
    3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11. {WHERE}
  </Alert>
);

function Lookup({ id }: { id: string }): ReactNode {
  const query = useQuery({
    queryKey: ['requests', id],
    queryFn: async ({ signal }) => (await api<Found>('GET', `/admin/requests/${id}`, { signal })).data,
    retry: mayRetry,
  });
  if (query.error instanceof ApiError && query.error.code === 'request.not-recorded') {
    return (
      <Alert severity="info">
        <AlertTitle>Request {id}</AlertTitle>
        {query.error.detail}
      </Alert>
    );
  }
  return (
    <Loaded query={query} what="the request" rows={5}>
      {(found) => <RequestRecord found={found} />}
    </Loaded>
  );
}

/** What became of the request whose id is in the address. */
export default function RequestPage(): ReactNode {
  const { requestId } = useParams();
  const isMalformed = (useLocation().state as RequestPageState | null)?.isMalformed === true;
  const isInBar = useSearchInBar();
  const id = requestId === undefined ? undefined : requestIdIn(requestId);
  return (
    <Page title="Request">
      {!isInBar && <RequestField autoFocus={requestId === undefined} />}
      <Stack aria-live="polite" spacing={2}>
        {id !== undefined ? (
          <Lookup key={id} id={id} />
        ) : requestId !== undefined || isMalformed ? (
          <Malformed />
        ) : (
          <Typography>
            {isInBar && 'Paste a request id into the field at the top. '}
            {WHERE}
          </Typography>
        )}
      </Stack>
    </Page>
  );
}
