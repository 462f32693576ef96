import { foldRuns, noSignIns, olderRun, runEntry, signInDetails, signInTitle } from '../words/sign-in.ts';
import { second } from '../words/text.ts';
import { api, type OwnSignIn } from './api.ts';
import { button, h, newId } from './dom.ts';
import { pagedList } from './paged-list.ts';
import type { Session } from './session.ts';
import type { Tab } from './tabs.ts';
import { words } from './text.ts';

type Run = OwnSignIn & { readonly run: readonly OwnSignIn[] };

const isSame = (one: OwnSignIn, other: OwnSignIn): boolean =>
  one.reasonCode === other.reasonCode && one.address === other.address;

/** A list that a button shows and hides. */
function folded(content: HTMLElement): Node[] {
  content.hidden = true;
  content.id = newId();
  const toggle = button(
    'Show them',
    () => {
      content.hidden = !content.hidden;
      toggle.textContent = content.hidden ? 'Show them' : 'Hide them';
      toggle.setAttribute('aria-expanded', String(!content.hidden));
    },
    { class: 'link', 'aria-expanded': 'false', 'aria-controls': content.id },
  );
  return [toggle];
}

function olderOf({ run }: Run): Node[] {
  const older = run.slice(1);
  if (older.length === 0) return [];
  const list = h('ul', { class: 'small' }, ...older.map((each) => h('li', {}, ...words(runEntry(each)))));
  return [h('p', { class: 'small' }, ...words(olderRun(older)), ' ', ...folded(list)), list];
}

function entry(signIn: Run, newer: Run | undefined): Node {
  const isToken = signIn.outcome === 'token';
  const isRepeated = newer?.reasonCode === signIn.reasonCode && newer.outcome === signIn.outcome;
  return h(
    'div',
    { class: isToken ? 'row done' : 'row refused' },
    h(
      'div',
      { class: 'line' },
      h(
        'h3',
        { tabindex: '-1' },
        h('span', { class: 'unseen' }, isToken ? 'Token: ' : 'Refused: '),
        signInTitle(signIn, signIn.reasonCode),
      ),
      ...words([second(signIn.at)]),
    ),
    h('p', { class: 'small quiet' }, ...words(signInDetails(signIn))),
    signIn.hint !== null && !isRepeated && h('p', { class: 'small' }, signIn.hint),
    ...olderOf(signIn),
  );
}

/** The attempts with the partner's username, as staff see them. */
export function signInsTab(session: Session): Tab {
  const only = h('input', { type: 'checkbox', id: newId() });
  const [list, reload] = pagedList<OwnSignIn, Run>({
    what: 'the sign-ins',
    nothing: () => noSignIns(only.checked),
    ask: (cursor) => api.activity(session, cursor, only.checked),
    fold: (items) => foldRuns(items, isSame),
    entry,
  });
  only.addEventListener('change', reload);
  const panel = h(
    'section',
    {},
    h(
      'div',
      { class: 'line' },
      h('h2', {}, 'Sign-ins'),
      h('span', { class: 'choice' }, only, h('label', { for: only.id }, 'Only refusals')),
    ),
    list,
  );
  return { label: 'Sign-ins', panel, open: reload };
}
