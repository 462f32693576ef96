import { callErrorDetails, type CallErrorState, callErrorTitle, NO_CALL_ERRORS } from '../words/calls.ts';
import { second } from '../words/text.ts';
import { api } from './api.ts';
import { h } from './dom.ts';
import { pagedList } from './paged-list.ts';
import type { Session } from './session.ts';
import type { Tab } from './tabs.ts';
import { words } from './text.ts';

const entry = (call: CallErrorState, newer: CallErrorState | undefined): Node =>
  h(
    'div',
    { class: 'row' },
    h('div', { class: 'line' }, h('h3', { tabindex: '-1' }, callErrorTitle(call)), ...words([second(call.at)])),
    h('p', { class: 'small quiet' }, ...words(callErrorDetails(call))),
    newer?.hint !== call.hint && h('p', { class: 'small' }, call.hint),
  );

/** The partner's calls that were refused or failed, as staff see them. */
export function errorsTab(session: Session): Tab {
  const [list, reload] = pagedList<CallErrorState, CallErrorState>({
    what: 'the refused and failed calls',
    nothing: () => NO_CALL_ERRORS,
    ask: (cursor) => api.errors(session, cursor),
    fold: (items) => items,
    entry,
  });
  return { label: 'Errors', panel: h('section', {}, h('h2', {}, 'Refused and failed calls'), list), open: reload };
}
