import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import CardContent from '@mui/material/CardContent';
import Stack from '@mui/material/Stack';
import Tab from '@mui/material/Tab';
import Tabs from '@mui/material/Tabs';
import Typography from '@mui/material/Typography';
import type { ReactNode } from 'react';
import { Title, useGetOne } from 'react-admin';
import { Link, useParams, useSearchParams } from 'react-router-dom';
import { ApiError } from '../api.ts';
import { AccountTab } from './account-tab.tsx';
import { ActivityTab } from './activity-tab.tsx';
import { CredentialsTab } from './credentials-tab.tsx';
import { GrantsTab } from './grants-tab.tsx';
import { HistoryTab } from './history-tab.tsx';
import { Loaded } from './loading-states.tsx';
import type { ChannelUser } from './partner-api.ts';
import { StateActions } from './state-actions.tsx';
import { StatusChip } from './status-chip.tsx';

const TABS: Record<string, { label: string; render: (partner: ChannelUser) => ReactNode }> = {
  account: { label: 'Account', render: (partner) => <AccountTab partner={partner} /> },
  credentials: { label: 'Passwords', render: (partner) => <CredentialsTab partner={partner} /> },
  grants: { label: 'Grants', render: (partner) => <GrantsTab partner={partner} /> },
  activity: { label: 'Sign-ins', render: (partner) => <ActivityTab partner={partner} /> },
  history: { label: 'History', render: (partner) => <HistoryTab partner={partner} /> },
};

function Head({ partner }: { partner: ChannelUser }) {
  const { displayName, username, status } = partner;
  return (
    <Stack
      direction={{ xs: 'column', md: 'row' }}
      spacing={2}
      useFlexGap
      sx={{ alignItems: { md: 'center' }, justifyContent: 'space-between' }}
    >
      <Box sx={{ minWidth: 0, overflowWrap: 'anywhere' }}>
        <Stack direction="row" spacing={1.5} useFlexGap sx={{ alignItems: 'center', flexWrap: 'wrap' }}>
          <Typography variant="h5" component="h1">
            {displayName}
          </Typography>
          <StatusChip status={status} />
        </Stack>
        <Typography color="textSecondary">{username}</Typography>
      </Box>
      <StateActions partner={partner} />
    </Stack>
  );
}

/** One partner. The tab stands in the address, so that a link leads to it. */
export function PartnerPage() {
  const { id = '' } = useParams();
  const [search, setSearch] = useSearchParams();
  const query = useGetOne<ChannelUser>('channel-users', { id }, { retry: false });
  const asked = search.get('tab') ?? '';
  const tab = asked in TABS ? asked : 'account';

  if (query.error instanceof ApiError && query.error.status === 404) {
    return (
      <Alert
        severity="info"
        sx={{ mt: 2 }}
        action={
          <Button component={Link} to="/channel-users" color="inherit" size="small">
            All partners
          </Button>
        }
      >
        There is no such partner. It may have been deleted; the audit trail tells.
      </Alert>
    );
  }
  return (
    // The layout is as wide as its content asks for; a grid lets the tabs scroll instead.
    <Box
      sx={{ display: 'grid', gridTemplateColumns: 'minmax(0, 1fr)', mt: 2, maxWidth: 1200, width: '100%', mx: 'auto' }}
    >
      <Loaded query={query} what="the partner" rows={5}>
        {(partner) => (
          <Stack spacing={2} useFlexGap>
            <Title title={partner.displayName} />
            <Head partner={partner} />
            <Card>
              <Tabs
                value={tab}
                onChange={(_, next: string) => {
                  setSearch({ tab: next }, { replace: true });
                }}
                variant="scrollable"
                allowScrollButtonsMobile
                aria-label="About this partner"
                sx={{ borderBottom: 1, borderColor: 'divider' }}
              >
                {Object.entries(TABS).map(([name, { label }]) => (
                  <Tab key={name} value={name} label={label} id={`tab-${name}`} aria-controls={`panel-${name}`} />
                ))}
              </Tabs>
              {Object.entries(TABS).map(([name, { render }]) => (
                <CardContent
                  key={name}
                  role="tabpanel"
                  id={`panel-${name}`}
                  aria-labelledby={`tab-${name}`}
                  hidden={tab !== name}
                >
                  {tab === name && render(partner)}
                </CardContent>
              ))}
            </Card>
          </Stack>
        )}
      </Loaded>
    </Box>
  );
}
