import { isLive, lastUseOf, lifeOf, NO_PASSWORD, statusWords } from '../words/credential.ts';
import {
  endLabel,
  rotationDanger,
  rotationLines,
  rotationOf,
  rotationOrigin,
  rotationTitle,
  WATCH_MS,
} from '../words/rotation.ts';
import { api, type Me, type OwnCredential } from './api.ts';
import { copyButton } from './copy.ts';
import { button, h, newId } from './dom.ts';
import { openLeaked } from './leaked.ts';
import { load, redraw } from './loading.ts';
import { openEnd, openRotate, openWithdraw } from './rotate.ts';
import type { Session } from './session.ts';
import { rotateCommands } from './shell.ts';
import type { Tab } from './tabs.ts';
import { words } from './text.ts';
import { whichOne } from './which-one.ts';

const LOOKS: Record<OwnCredential['status'], string> = {
  active: 'success',
  pending: 'accent',
  expired: 'warning',
  revoked: '',
  withdrawn: '',
};

type Act = (credential: OwnCredential) => void;

/** Where a rotation stands, what happens next, and what the partner can do about it. */
function rotationNotice(all: readonly OwnCredential[], withdraw: Act, end: Act): HTMLElement | undefined {
  const rotation = rotationOf(all);
  if (!rotation) return undefined;
  const { next, old } = rotation;
  const link = next.link ?? undefined;
  const danger = rotationDanger(rotation);
  const origin = rotationOrigin(rotation, next.startedBy);
  const isPending = next.status === 'pending';
  const isOwn = next.startedBy === 'account';
  return h(
    'section',
    { class: danger ? 'notice' : 'notice info', 'aria-label': 'Rotation' },
    h('h3', {}, ...words(rotationTitle(rotation, link, next.startedBy))),
    ...rotationLines(rotation, link).map((line) => h('p', {}, ...words(line))),
    danger && h('p', {}, h('strong', {}, ...words(danger))),
    origin && h('p', {}, ...words(origin)),
    isPending && !isOwn && h('p', {}, 'Only your contact can withdraw it.'),
    h(
      'div',
      { class: 'actions' },
      isPending &&
        isOwn &&
        button(
          'Withdraw',
          () => {
            withdraw(next);
          },
          { 'data-key': 'withdraw' },
        ),
      ...(isPending ? [] : old).map((each) =>
        button(
          endLabel(each, rotation),
          () => {
            end(each);
          },
          { 'data-key': `end-now-${each.id}` },
        ),
      ),
    ),
  );
}

function card(credential: OwnCredential, all: readonly OwnCredential[], end: Act): HTMLElement {
  const { id, label, status, current } = credential;
  const others = all.filter((other) => other.id !== id && other.status === 'active');
  return h(
    'li',
    { class: 'card' },
    h(
      'div',
      { class: 'line' },
      h(
        'div',
        { class: 'title' },
        h('h3', {}, h('bdi', {}, label)),
        h('span', { class: `chip ${LOOKS[status]}` }, statusWords(credential, all)),
      ),
      status === 'active' &&
        others.length > 0 &&
        button(
          'End',
          () => {
            end(credential);
          },
          { class: 'link', 'aria-label': `End ${label}`, 'data-key': `end-${id}` },
        ),
    ),
    h('p', { class: 'small' }, ...words(lastUseOf(credential))),
    h('p', { class: 'small quiet' }, ...words(lifeOf(credential))),
    current &&
      h(
        'p',
        { class: 'small' },
        'You are signed in with this one',
        status === 'pending' ? '. It is not yet used by your software: signing in on this page does not count.' : '.',
      ),
  );
}

/** Commands for rotating without this page. */
function fromShell(username: string): HTMLElement {
  const code = h('code', {}, rotateCommands(new URL('.', document.baseURI).href.replace(/\/$/, ''), username));
  return h(
    'details',
    {},
    h('summary', {}, 'Rotate from a shell'),
    h(
      'p',
      {},
      'The answer has the new password. Your software must use it: the old passwords go on until it gets its first token with the new one.',
    ),
    h('div', { class: 'command' }, h('pre', { tabindex: '0' }, code), copyButton(code, 'Commands')),
  );
}

interface PasswordList {
  readonly list: HTMLElement;
  /** Shows the passwords that no longer work, too. */
  readonly choice: HTMLElement;
  readonly reload: () => void;
}

/** The partner's passwords and the rotation that is under way, read again and again while there is one. */
function passwordList(session: Session): PasswordList {
  let all: readonly OwnCredential[] = [];
  let drawn = '';
  let timer: ReturnType<typeof setTimeout> | undefined;
  const list = h('div', {});
  const old = h('input', { type: 'checkbox', id: newId() });
  const label = h('label', { for: old.id });
  const choice = h('span', { class: 'choice', hidden: true }, old, label);

  const draw = (): void => {
    const live = all.filter(isLive);
    choice.hidden = live.length === all.length;
    label.textContent = `Show expired and revoked ones (${String(all.length - live.length)})`;
    const end: Act = (credential) => {
      openEnd(session, credential, reload);
    };
    const withdraw: Act = (credential) => {
      openWithdraw(session, credential, reload);
    };
    const notice = rotationNotice(all, withdraw, end);
    const cards = (old.checked ? all : live).map((each) => card(each, all, end));
    const shown = cards.length > 0 ? h('ul', { class: 'cards' }, ...cards) : h('p', { class: 'quiet' }, NO_PASSWORD);
    redraw(list, ...(notice ? [notice] : []), shown);
  };
  const reload = (): void => {
    clearTimeout(timer);
    const ask = (): Promise<{ items: OwnCredential[] }> => api.credentials(session);
    void load(list, 'the passwords', ask, ({ items }) => {
      all = items;
      // Drawing anew would move what somebody is reading or selecting.
      if (drawn !== JSON.stringify(items)) draw();
      drawn = JSON.stringify(items);
    }).finally(watch);
  };
  const watch = (): void => {
    clearTimeout(timer);
    if (session.ended.aborted || !rotationOf(all)) return;
    timer = setTimeout(() => {
      if (list.checkVisibility() && document.visibilityState === 'visible') reload();
      else watch();
    }, WATCH_MS);
  };
  old.addEventListener('change', draw);
  return { list, choice, reload };
}

/** The partner's passwords by fingerprint, as staff see them, and rotating them. */
export function credentialsTab(session: Session, { selfService, username }: Me): Tab {
  const { list, choice, reload } = passwordList(session);
  const rotate = button(
    'New password',
    () => {
      openRotate(session, reload);
    },
    { class: 'primary' },
  );
  const leaked = button(
    'My password leaked',
    () => {
      openLeaked(session.ended, username, reload);
    },
    { class: 'danger' },
  );
  const switchedOff = 'For a new password, ask your contact: rotating by yourself is switched off for this account.';
  const panel = h(
    'div',
    {},
    h(
      'section',
      {},
      h('div', { class: 'line' }, h('h2', {}, 'Passwords'), choice, selfService && rotate),
      !selfService && h('p', { class: 'quiet' }, switchedOff),
      list,
    ),
    h('section', {}, h('h2', {}, 'Which one do I hold?'), whichOne(session)),
    selfService && h('section', {}, fromShell(username)),
    h(
      'section',
      {},
      h('h2', {}, 'Has a password leaked?'),
      h('p', {}, 'End it at once. Your contact is told.'),
      leaked,
    ),
  );
  return { label: 'Passwords', panel, open: reload };
}
