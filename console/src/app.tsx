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
import { staff } from './staff.tsx';
import { store } from './store.ts';
import { darkTheme, lightTheme } from './theme.ts';

// Its charts are large, and the sign-in page needs none.
const Overview = lazy(() => import('./overview/overview.tsx'));
const Notices = lazy(() => import('./notices/notices.tsx'));
const Webhooks = lazy(() => import('./notices/webhooks.tsx'));

/** The console: what may be done, and where. */
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
      <Resource {...staff} />
      <Resource name="audit-events" options={{ label: 'Audit' }} list={AuditList} />
      <CustomRoutes>
        <Route path="/notices" element={<Notices />} />
        <Route path="/webhooks" element={<Webhooks />} />
        <Route path="/signing-keys" element={<SigningKeys />} />
        <Route path="/settings" element={<SettingsPage />} />
        <Route path="/profile" element={<Profile />} />
      </CustomRoutes>
    </Admin>
  );
}
