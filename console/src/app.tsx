import { lazy, type ReactNode } from 'react';
import { Admin, CustomRoutes, Resource } from 'react-admin';
import { Route } from 'react-router-dom';
import { AuditList } from './audit.tsx';
import { authProvider } from './auth.ts';
import { dataProvider } from './data.ts';
import { Layout } from './layout.tsx';

import partners from './partners/index.tsx';
import { Profile } from './profile.tsx';
import { SettingsPage } from './settings.tsx';
import { SignIn } from './sign-in.tsx';
import { SigningKeys } from './signing-keys.tsx';
import { RolePage } from './role-page.tsx';
import { staff, StaffPage } from './staff.tsx';
import { store } from './store.ts';
import { darkTheme, lightTheme } from './theme.ts';

// Loaded when opened, since few people need it.
const ImportPage = lazy(async () => ({ default: (await import('./partners/import-page.tsx')).ImportPage }));
// Loaded when opened, since its charts are large and the sign-in page needs none.
const Overview = lazy(() => import('./overview/overview.tsx'));
const Notices = lazy(() => import('./notices/notices.tsx'));
const RequestPage = lazy(() => import('./requests/request-page.tsx'));
const Webhooks = lazy(() => import('./notices/webhooks.tsx'));
const ServiceAccounts = lazy(() => import('./service-accounts/service-accounts.tsx'));

function StaffForAdmins(): ReactNode {
  return (
    <RolePage role="admin" what="manage the accounts of colleagues">
      <StaffPage />
    </RolePage>
  );
}

/** The console's resources, routes and providers. */
export function App(): ReactNode {
  return (
    <Admin
      title="Latchkey"
      dataProvider={dataProvider}
      authProvider={authProvider}
      loginPage={SignIn}
      layout={Layout}
      dashboard={Overview}
      lightTheme={lightTheme}
      darkTheme={darkTheme}
      requireAuth
      disableTelemetry
      store={store}
    >
      <Resource {...partners} />
      <Resource {...staff} list={StaffForAdmins} />
      <Resource name="audit-events" options={{ label: 'Audit' }} list={AuditList} />
      <CustomRoutes>
        <Route path="/notices" element={<Notices />} />
        <Route path="/webhooks" element={<Webhooks />} />
        <Route path="/requests" element={<RequestPage />} />
        <Route path="/requests/:requestId" element={<RequestPage />} />
        <Route
          path="/import"
          element={
            <RolePage role="operator" what="import partners">
              <ImportPage />
            </RolePage>
          }
        />
        <Route
          path="/signing-keys"
          element={
            <RolePage role="admin" what="see and rotate the signing keys">
              <SigningKeys />
            </RolePage>
          }
        />
        <Route
          path="/service-accounts"
          element={
            <RolePage role="admin" what="manage the identities of scripts">
              <ServiceAccounts />
            </RolePage>
          }
        />
        <Route path="/settings" element={<SettingsPage />} />
        <Route path="/profile" element={<Profile />} />
      </CustomRoutes>
    </Admin>
  );
}
