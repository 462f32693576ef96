import AccountCircle from '@mui/icons-material/AccountCircle';
import GroupIcon from '@mui/icons-material/Group';
import HistoryIcon from '@mui/icons-material/History';
import HubIcon from '@mui/icons-material/Hub';
import KeyIcon from '@mui/icons-material/VpnKey';
import NotificationsIcon from '@mui/icons-material/Notifications';
import SettingsIcon from '@mui/icons-material/Settings';
import WebhookIcon from '@mui/icons-material/Webhook';
import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import ListItemIcon from '@mui/material/ListItemIcon';
import ListItemText from '@mui/material/ListItemText';
import MenuItem from '@mui/material/MenuItem';
import { type ReactNode, useEffect, useState } from 'react';
import {
  AppBar,
  Layout as AdminLayout,
  type LayoutProps,
  Logout,
  Menu,
  RefreshIconButton,
  ToggleThemeButton,
  useLogout,
  useNotify,
  UserMenu,
  useUserMenu,
} from 'react-admin';
import { Link, useNavigate } from 'react-router-dom';
import { ENROLMENT_REQUIRED, idleFor, SIGNED_OUT } from './api.ts';
import { currentSession, forgetSession } from './auth.ts';
import { IfRole } from './permissions.ts';

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

function Bar(): ReactNode {
  return (
    <AppBar
      toolbar={
        <>
          <ToggleThemeButton />
          <RefreshIconButton />
        </>
      }
      userMenu={
        <UserMenu>
          <ProfileItem />
          <Logout />
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
        <Menu.Item to="/signing-keys" primaryText="Signing keys" leftIcon={<KeyIcon />} />
      </IfRole>
      <Menu.Item to="/webhooks" primaryText="Webhooks" leftIcon={<WebhookIcon />} />
      <Menu.Item to="/settings" primaryText="Settings" leftIcon={<SettingsIcon />} />
    </Menu>
  );
}

/** A console that nobody uses must not go on showing what it showed: once the time is over, the API is asked. */
async function leaveWhenOver(): Promise<void> {
  try {
    const { session } = await currentSession();
    const idle = session.idleSeconds !== null && idleFor() > session.idleSeconds * 1000;
    if (!idle && Date.now() < Date.parse(session.expiresAt)) return;
    forgetSession();
    await currentSession();
  } catch {
    // A 401 has been announced by api(); a network that is down is asked again.
  }
}

/** Acts on what `api()` says of the session: a session that ended shows the sign-in page, which comes back here. */
function SessionWatch(): ReactNode {
  const logout = useLogout();
  const notify = useNotify();
  const navigate = useNavigate();
  useEffect(() => {
    let leaving = false;
    const signedOut = (): void => {
      // Several requests end together.
      if (leaving) return;
      leaving = true;
      forgetSession();
      notify('Your session has ended. Sign in again to go on where you were.', {
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
    // Somebody who has to enrol is led there before the first refusal.
    currentSession().then(
      ({ enrolmentRequired }) => {
        if (enrolmentRequired) enrol();
      },
      // What asks first says what is wrong.
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
  return null;
}

/** Says that the browser has no network, for as long as it has none. */
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
      You are offline. What you see may be old; nothing can be changed until the connection is back.
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
      <SessionWatch />
      <Offline />
      <Box sx={{ minWidth: 0 }}>{children}</Box>
    </AdminLayout>
  );
}
