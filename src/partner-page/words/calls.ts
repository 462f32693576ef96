import { minute, type Text } from './text.ts';

export const DEFAULT_HOURS = 24;
/** The periods for which calls are shown. */
export const SPANS: readonly (readonly [hours: number, words: string])[] = [
  [1, 'This hour'],
  [6, 'The last 6 hours'],
  [DEFAULT_HOURS, 'The last 24 hours'],
  [72, 'The last 3 days'],
  [168, 'The last 7 days'],
];

const STATUS_CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const;
export type StatusClass = (typeof STATUS_CLASSES)[number];

/** A number of calls of one route with answers of one class. */
export interface CallTotal {
  /** `null` for the route `other`. */
  readonly method: string | null;
  readonly route: string;
  readonly statusClass: StatusClass;
  readonly count: number;
}

/** The classes that have calls. They are the columns of the tables of calls. */
export const classesOf = (totals: readonly CallTotal[]): StatusClass[] =>
  STATUS_CLASSES.filter((each) => totals.some(({ statusClass }) => statusClass === each));

/** Joins consecutive items with the same key, in the API's order. */
export function groupsOf<T>(items: readonly T[], keyOf: (item: T) => string): { key: string; items: T[] }[] {
  const groups: { key: string; items: T[] }[] = [];
  for (const item of items) {
    const last = groups.at(-1);
    if (last?.key === keyOf(item)) last.items.push(item);
    else groups.push({ key: keyOf(item), items: [item] });
  }
  return groups;
}

export const routeName = ({ method, route }: CallTotal): string => (method === null ? route : `${method} ${route}`);

/** The number of calls, of one class or of all. */
export const sumOf = (totals: readonly CallTotal[], statusClass?: StatusClass): number =>
  totals.reduce(
    (sum, total) => (statusClass === undefined || total.statusClass === statusClass ? sum + total.count : sum),
    0,
  );

/** How to read the tables of calls. */
export const callsExplanation = (totals: readonly CallTotal[]): string =>
  'Answers by the first digit of their status: 2xx succeeded, 4xx were refused, 5xx failed.' +
  (totals.some(({ method }) => method === null) ? ' “other” are all routes beyond the 50 with the most calls.' : '');

/** What stands in place of the tables when there are no calls. @param from the start of the period */
export const noCalls = (from: string): Text => [
  'This partner has made no calls since ',
  minute(from),
  '. Sign-ins are not counted here, and calls without a valid token belong to nobody.',
];

/** A refused or failed call, as the API explains it to staff and partner alike. */
export interface CallErrorState {
  readonly id: string;
  readonly at: string;
  readonly method: string;
  readonly route: string;
  readonly status: number;
  readonly code: string | null;
  readonly title: string;
  readonly reason: string;
  readonly hint: string;
  readonly requestId: string;
  readonly count: number;
}

export const NO_CALL_ERRORS =
  'No call of this partner was refused or failed in the last 14 days. Calls without a valid token belong to nobody, and refused sign-ins are under Sign-ins.';

export const callErrorTitle = ({ reason, count }: CallErrorState): string =>
  count > 1 ? `${reason} (${count.toLocaleString('en-GB')} times within a minute)` : reason;

/** What was called, and what the answer was. */
export const callErrorDetails = ({ method, route, status, title, code, requestId }: CallErrorState): Text => [
  { code: `${method} ${route}` },
  ` · ${String(status)} ${title}`,
  ...(code === null ? [] : [', ', { code }]),
  ' · request ',
  { request: requestId },
];
