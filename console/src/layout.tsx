import AccountCircle from '@mui/icons-material/AccountCircle';
import DarkModeIcon from '@mui/icons-material/DarkMode';
import GroupIcon from '@mui/icons-material/Group';
import HistoryIcon from '@mui/icons-material/History';
import HubIcon from '@mui/icons-material/Hub';
import KeyIcon from '@mui/icons-material/VpnKey';
import LightModeIcon from '@mui/icons-material/LightMode';
import LogoutIcon from '@mui/icons-material/Logout';
import NotificationsIcon from '@mui/icons-material/Notifications';
import RefreshIcon from '@mui/icons-material/Refresh';
import SettingsIcon from '@mui/icons-material/Settings';
import SmartToyIcon from '@mui/icons-material/SmartToyOutlined';
import WebhookIcon from '@mui/icons-material/Webhook';
import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import CircularProgress from '@mui/material/CircularProgress';
import ListItemIcon from '@mui/material/ListItemIcon';
import ListItemText from '@mui/material/ListItemText';
import MenuItem from '@mui/material/MenuItem';
import useMediaQuery from '@mui/material/useMediaQuery';
import { useIsFetching } from '@tanstack/react-query';
import { type ReactNode, useEffect, useState } from 'react';
import {
  AppBar,
  Layout as AdminLayout,
  type LayoutProps,
  Menu,
  useLogout,
  useNotify,
  useRefresh,
  useTheme,
  UserMenu,
  useUserMenu,
} from 'react-admin';
import { Link, useNavigate } from 'react-router-dom';
import { ENROLMENT_REQUIRED, idleFor, SIGNED_OUT } from './api.ts';
import { currentSession, forgetSession } from './auth.ts';
import { discardUnsaved, hasUnsaved, LeaveGuard, mayDiscard } from './leave-guard.tsx';
import { IfRole } from './permissions.ts';
import { RequestSearch } from './requests/request-search.tsx';
import { SignInAgain } from './sign-in-again.tsx';

function ProfileItem(): ReactNode {
  const menu = useUserMenu();
  return (
    <MenuItem component={Link} to="/profile" onClick={() => menu?.onClose()}>
      <ListItemIcon>
        <AccountCircle fontSize="small" />
      </ListItemIcon>
      <ListItemText>Your account</ListItemText>
    </MenuItem>
  );
}

/** Reloads the data of the page. Replaces react-admin's buttons, and shows its label on phones, too. */
function RefreshButton(): ReactNode {
  const refresh = useRefresh();
  const isBusy = useIsFetching() > 0;
  return (
    <Button
      color="inherit"
      startIcon={isBusy ? <CircularProgress color="inherit" size={20} aria-hidden /> : <RefreshIcon />}
      onClick={() => {
        refresh();
      }}
    >
      Refresh
    </Button>
  );
}

function ThemeItem(): ReactNode {
  const menu = useUserMenu();
  const prefersDark = useMediaQuery('(prefers-color-scheme: dark)', { noSsr: true });
  const [theme, setTheme] = useTheme(prefersDark ? 'dark' : 'light');
  const isDark = theme === 'dark';
  return (
    <MenuItem
      onClick={() => {
        menu?.onClose();
        setTheme(isDark ? 'light' : 'dark');
      }}
    >
      <ListItemIcon>{isDark ? <LightModeIcon fontSize="small" /> : <DarkModeIcon fontSize="small" />}</ListItemIcon>
      <ListItemText>{isDark ? 'Light colours' : 'Dark colours'}</ListItemText>
    </MenuItem>
  );
}

/** Signs out. Asks first when the page would lose something. */
function SignOutItem(): ReactNode {
  const menu = useUserMenu();
  const logout = useLogout();
  const leave = async (): Promise<void> => {
    menu?.onClose();
    if (!(await mayDiscard())) return;
    discardUnsaved();
    await logout({}, undefined, false);
  };
  return (
    <MenuItem onClick={() => void leave()}>
      <ListItemIcon>
        <LogoutIcon fontSize="small" />
      </ListItemIcon>
      <ListItemText>Sign out</ListItemText>
    </MenuItem>
  );
}

function Bar(): ReactNode {
  return (
    <AppBar
      toolbar={
        <>
          <RequestSearch />
          <RefreshButton />
        </>
      }
      userMenu={
        <UserMenu>
          <ProfileItem />
          <ThemeItem />
          <SignOutItem />
        </UserMenu>
      }
    />
  );
}

function Navigation(): ReactNode {
  return (
    <Menu>
      <Menu.DashboardItem primaryText="Overview" />
      <Menu.Item to="/channel-users" primaryText="Partners" leftIcon={<HubIcon />} />
      <Menu.Item to="/notices" primaryText="Notices" leftIcon={<NotificationsIcon />} />
      <Menu.Item to="/audit-events" primaryText="Audit" leftIcon={<HistoryIcon />} />
      <IfRole role="admin">
        <Menu.Item to="/staff" primaryText="Staff" leftIcon={<GroupIcon />} />
        <Menu.Item to="/service-accounts" primaryText="Service accounts" leftIcon={<SmartToyIcon />} />
        <Menu.Item to="/signing-keys" primaryText="Signing keys" leftIcon={<KeyIcon />} />
      </IfRole>
      <Menu.Item to="/webhooks" primaryText="Webhooks" leftIcon={<WebhookIcon />} />
      <Menu.Item to="/settings" primaryText="Settings" leftIcon={<SettingsIcon />} />
    </Menu>
  );
}

/** Asks the API once the session's time is over, so that an unused console does not go on showing data. */
async function leaveWhenOver(): Promise<void> {
  try {
    const { session } = await currentSession();
    const idle = session.idleSeconds !== null && idleFor() > session.idleSeconds * 1000;
    if (!idle && Date.now() < Date.parse(session.expiresAt)) return;
    forgetSession();
    await currentSession();
  } catch {
    // api() has announced a 401. After a network failure, the next timer asks again.
  }
}

/**
 * Reacts to the session events of `api()`. When the session has ended, shows the sign-in page, which returns here, or a
 * dialog if the page would lose something.
 */
function SessionWatch(): ReactNode {
  const [asksAgain, setAsksAgain] = useState(false);
  const logout = useLogout();
  const notify = useNotify();
  const navigate = useNavigate();
  useEffect(() => {
    let leaving = false;
    const signedOut = (): void => {
      // Several requests may be refused at once.
      if (leaving) return;
      forgetSession();
      if (hasUnsaved()) {
        setAsksAgain(true);
        return;
      }
      leaving = true;
      notify('Your session has ended. Sign in again to continue where you were.', {
        type: 'info',
        autoHideDuration: 8_000,
      });
      void logout();
    };
    const enrol = (): void => {
      void navigate('/profile');
    };
    window.addEventListener(SIGNED_OUT, signedOut);
    window.addEventListener(ENROLMENT_REQUIRED, enrol);
    // Leads a person who has to enrol to the profile before the first refusal.
    currentSession().then(
      ({ enrolmentRequired }) => {
        if (enrolmentRequired) enrol();
      },
      // The page's own first request shows the error.
      () => undefined,
    );
    const timer = setInterval(() => {
      void leaveWhenOver();
    }, 30_000);
    return () => {
      clearInterval(timer);
      window.removeEventListener(SIGNED_OUT, signedOut);
      window.removeEventListener(ENROLMENT_REQUIRED, enrol);
    };
  }, [logout, notify, navigate]);
  return asksAgain ? (
    <SignInAgain
      onDone={() => {
        setAsksAgain(false);
      }}
    />
  ) : null;
}

/** A notice that is shown while the browser has no network. */
function Offline(): ReactNode {
  const [online, setOnline] = useState(navigator.onLine);
  useEffect(() => {
    const update = (): void => {
      setOnline(navigator.onLine);
    };
    window.addEventListener('online', update);
    window.addEventListener('offline', update);
    return () => {
      window.removeEventListener('online', update);
      window.removeEventListener('offline', update);
    };
  }, []);
  return online ? null : (
    <Alert severity="warning" sx={{ mt: 1 }}>
      You are offline. This page may be out of date, and changes are not possible until the connection is back.
    </Alert>
  );
}

export function Layout({ children, ...rest }: LayoutProps): ReactNode {
  return (
    <AdminLayout
      {...rest}
      appBar={Bar}
      menu={Navigation}
      sx={{ '& .RaLayout-content': { minWidth: 0, px: { xs: 1, sm: 2 }, pb: 4 } }}
    >
      <LeaveGuard />
      <SessionWatch />
      <Offline />
      <Box sx={{ minWidth: 0 }}>{children}</Box>
    </AdminLayout>
  );
}
