import {
  callsExplanation,
  type CallTotal,
  classesOf,
  DEFAULT_HOURS,
  groupsOf,
  noCalls,
  routeName,
  SPANS,
  type StatusClass,
  sumOf,
} from '../words/calls.ts';
import { clock } from '../words/text.ts';
import { dayOf, localTime } from '../words/time.ts';
import { api, type Calls } from './api.ts';
import { h, newId } from './dom.ts';
import { load } from './loading.ts';
import type { Session } from './session.ts';
import type { Tab } from './tabs.ts';
import { words } from './text.ts';

const shown = (count: number): string => count.toLocaleString('en-GB');

/** The numbers of a row: one for each class, then all. */
const numbers = (totals: readonly CallTotal[], classes: readonly StatusClass[]): HTMLElement[] => [
  ...classes.map((each) => h('td', {}, shown(sumOf(totals, each)))),
  h('td', {}, h('strong', {}, shown(sumOf(totals)))),
];

function row(
  name: readonly (Node | string)[],
  totals: readonly CallTotal[],
  classes: readonly StatusClass[],
): HTMLElement {
  return h('tr', {}, h('th', { scope: 'row' }, ...name), ...numbers(totals, classes));
}

const routeRows = (totals: readonly CallTotal[], classes: readonly StatusClass[]): HTMLElement[] =>
  groupsOf(totals, routeName).map(({ key, items }) => row([h('code', {}, key)], items, classes));

/** The row of an hour, whose routes a button shows. */
function hourRows(hour: string, totals: readonly CallTotal[], classes: readonly StatusClass[]): HTMLElement[] {
  const routes = routeRows(totals, classes);
  for (const each of routes) {
    each.hidden = true;
    each.className = 'indented';
  }
  const toggle = h(
    'button',
    { type: 'button', class: 'fold', 'aria-expanded': 'false' },
    h('span', { class: 'unseen' }, `Routes of ${dayOf(hour)}, ${localTime(new Date(hour), 'clock')}`),
  );
  toggle.addEventListener('click', () => {
    const isOpen = toggle.getAttribute('aria-expanded') === 'true';
    toggle.setAttribute('aria-expanded', String(!isOpen));
    for (const each of routes) each.hidden = isOpen;
  });
  return [row([toggle, ' ', ...words([clock(hour)])], totals, classes), ...routes];
}

/** The calls of a day, hour by hour. */
function dayRows(day: string, items: Calls['items'], classes: readonly StatusClass[]): HTMLElement {
  const heading = h('th', { scope: 'rowgroup', colspan: String(classes.length + 2) }, h('strong', {}, day));
  const hours = groupsOf(items, ({ hour }) => hour);
  return h(
    'tbody',
    {},
    h('tr', {}, heading),
    ...hours.flatMap(({ key, items: calls }) => hourRows(key, calls, classes)),
  );
}

function table(
  title: string,
  what: string,
  classes: readonly StatusClass[],
  bodies: readonly HTMLElement[],
): HTMLElement {
  const id = newId();
  return h(
    'div',
    { class: 'scrolled' },
    h('h3', { id }, title),
    h(
      'table',
      { 'aria-labelledby': id },
      h('thead', {}, h('tr', {}, ...[what, ...classes, 'All'].map((name) => h('th', { scope: 'col' }, name)))),
      ...bodies,
    ),
  );
}

function tablesOf({ from, totals, items }: Calls): HTMLElement[] {
  if (items.length === 0) return [h('p', { class: 'quiet' }, ...words(noCalls(from)))];
  const classes = classesOf(totals);
  const all = row([h('strong', {}, 'All')], totals, classes);
  const days = groupsOf(items, ({ hour }) => dayOf(hour));
  return [
    h('p', { class: 'small quiet' }, callsExplanation(totals), ' What this page reads counts too.'),
    table('By route', 'Route', classes, [h('tbody', {}, ...routeRows(totals, classes), all)]),
    table(
      'By hour',
      'Hour from',
      classes,
      days.map(({ key, items: calls }) => dayRows(key, calls, classes)),
    ),
  ];
}

/** The partner's calls by hour, route and class of the status, as staff see them. */
export function callsTab(session: Session): Tab {
  const result = h('div', {});
  const span = h(
    'select',
    { id: newId() },
    ...SPANS.map(([hours, name]) => h('option', { value: String(hours), selected: hours === DEFAULT_HOURS }, name)),
  );
  /** Answers to an earlier question are dropped. */
  let question = 0;
  const open = (): void => {
    const asked = ++question;
    void load(
      result,
      'the calls',
      () => api.usage(session, Number(span.value)),
      (calls) => {
        if (asked === question) result.replaceChildren(...tablesOf(calls));
      },
    );
  };
  span.addEventListener('change', open);
  const panel = h(
    'section',
    {},
    h(
      'div',
      { class: 'line' },
      h('h2', {}, 'Calls'),
      h('span', { class: 'choice' }, h('label', { for: span.id }, 'Period'), span),
    ),
    result,
  );
  return { label: 'Calls', panel, open };
}
