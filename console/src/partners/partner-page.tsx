import CallsIcon from '@mui/icons-material/BarChart';
import HistoryIcon from '@mui/icons-material/History';
import SignInsIcon from '@mui/icons-material/Login';
import ErrorsIcon from '@mui/icons-material/ErrorOutlined';
import AccountIcon from '@mui/icons-material/Person';
import GrantsIcon from '@mui/icons-material/Rule';
import KeyIcon from '@mui/icons-material/VpnKey';
import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import CardContent from '@mui/material/CardContent';
import Stack from '@mui/material/Stack';
import type { SxProps, Theme } from '@mui/material/styles';
import Tab from '@mui/material/Tab';
import Tabs from '@mui/material/Tabs';
import Typography from '@mui/material/Typography';
import type { ReactElement, ReactNode } from 'react';
import { Title, useGetOne } from 'react-admin';
import { Link, useParams, useSearchParams } from 'react-router-dom';
import { ApiError } from '../api.ts';
import { AccountTab } from './account-tab.tsx';
import { ActivityTab } from './activity-tab.tsx';
import { CallsTab } from './calls-tab.tsx';
import { CredentialsTab } from './credentials-tab.tsx';
import { ErrorsTab } from './errors-tab.tsx';
import { GrantsTab } from './grants-tab.tsx';
import { HistoryTab } from './history-tab.tsx';
import { Loaded } from './loading-states.tsx';
import type { ChannelUser } from './partner-api.ts';
import { StateActions } from './state-actions.tsx';
import { StateNotice } from './state-notice.tsx';
import { StatusChip } from './status-chip.tsx';

interface PartnerTab {
  readonly label: string;
  readonly icon: ReactElement;
  readonly render: (partner: ChannelUser) => ReactNode;
}

const TABS: Record<string, PartnerTab> = {
  account: { label: 'Account', icon: <AccountIcon />, render: (partner) => <AccountTab partner={partner} /> },
  credentials: { label: 'Passwords', icon: <KeyIcon />, render: (partner) => <CredentialsTab partner={partner} /> },
  grants: { label: 'Grants', icon: <GrantsIcon />, render: (partner) => <GrantsTab partner={partner} /> },
  activity: { label: 'Sign-ins', icon: <SignInsIcon />, render: (partner) => <ActivityTab partner={partner} /> },
  calls: { label: 'Calls', icon: <CallsIcon />, render: (partner) => <CallsTab partner={partner} /> },
  errors: { label: 'Errors', icon: <ErrorsIcon />, render: (partner) => <ErrorsTab partner={partner} /> },
  history: { label: 'History', icon: <HistoryIcon />, render: (partner) => <HistoryTab partner={partner} /> },
};

/** Icons above the labels on a narrow screen, so that all seven tabs fit on a phone. */
const TAB_STYLES: SxProps<Theme> = {
  borderBottom: 1,
  borderColor: 'divider',
  '& .MuiTab-root': {
    minWidth: 0,
    minHeight: { xs: 60, lg: 48 },
    px: { xs: 0, lg: 2 },
    fontSize: { xs: 11, sm: 12, lg: 14 },
    flexDirection: { xs: 'column', lg: 'row' },
    flexGrow: { xs: 1, lg: 0 },
  },
  '& .MuiTab-icon': { mr: { xs: 0, lg: 1 }, mb: 0 },
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
            <bdi>{displayName}</bdi>
          </Typography>
          <StatusChip status={status} />
        </Stack>
        <Typography color="textSecondary">{username}</Typography>
      </Box>
      <StateActions partner={partner} />
    </Stack>
  );
}

/** The page of one partner. The tab is in the URL, so that a link can open it. */
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
        There is no such partner. It may have been deleted: check the audit trail.
      </Alert>
    );
  }
  return (
    // The layout grows with its content. A grid makes the tabs scroll instead.
    <Box
      sx={{ display: 'grid', gridTemplateColumns: 'minmax(0, 1fr)', mt: 2, maxWidth: 1200, width: '100%', mx: 'auto' }}
    >
      <Loaded query={query} what="the partner" rows={5}>
        {(partner) => (
          <Stack spacing={2} useFlexGap>
            <Title title={partner.displayName} />
            <Head partner={partner} />
            <StateNotice partner={partner} />
            <Card>
              <Tabs
                value={tab}
                variant="scrollable"
                scrollButtons={false}
                onChange={(_, next: string) => {
                  setSearch({ tab: next }, { replace: true });
                }}
                aria-label="About this partner"
                sx={TAB_STYLES}
              >
                {Object.entries(TABS).map(([name, { label, icon }]) => (
                  <Tab
                    key={name}
                    value={name}
                    label={label}
                    icon={icon}
                    iconPosition="start"
                    id={`tab-${name}`}
                    aria-controls={`panel-${name}`}
                  />
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
