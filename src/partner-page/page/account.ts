import { minute, type Text } from '../words/text.ts';
import { api, type Me } from './api.ts';
import { button, focusOn, h } from './dom.ts';
import { callsTab } from './calls-tab.ts';
import { credentialsTab } from './credentials-tab.ts';
import { errorsTab } from './errors-tab.ts';
import { load } from './loading.ts';
import { lookUp } from './look-up.ts';
import type { Session } from './session.ts';
import { signInsTab } from './sign-ins-tab.ts';
import { tabs } from './tabs.ts';
import { words } from './text.ts';

const fact = (name: string, text: Text): HTMLElement => h('div', {}, h('dt', {}, name), h('dd', {}, ...words(text)));

function head({ displayName, username }: Me, ...buttons: readonly HTMLElement[]): HTMLElement {
  const heading = h('h1', {}, h('bdi', {}, displayName));
  return h(
    'header',
    {},
    h(
      'div',
      { class: 'who' },
      h('div', { class: 'title' }, heading, h('span', { class: 'chip success' }, 'Active')),
      h('p', { class: 'quiet' }, username),
    ),
    h('div', { class: 'actions' }, ...buttons),
  );
}

const facts = ({ expiresAt }: Me): HTMLElement =>
  h('dl', { class: 'facts inline' }, fact('Account expires', expiresAt === null ? ['never'] : [minute(expiresAt)]));

/** The page of a signed-in partner. */
export function openAccount(session: Session, signOut: () => void): HTMLElement {
  const root = h('div', { class: 'account' });
  void load(
    root,
    'your account',
    () => api.me(session),
    (me) => {
      const [search, result] = lookUp(session, root);
      const [tabbed, refresh] = tabs([
        credentialsTab(session, me),
        signInsTab(session),
        callsTab(session),
        errorsTab(session),
      ]);
      const header = head(me, button('Refresh', refresh), button('Sign out', signOut));
      root.append(header, facts(me), search, result, tabbed);
      document.title = `${me.displayName} – your account`;
      const heading = header.querySelector('h1');
      if (heading) focusOn(heading);
    },
  );
  return root;
}
