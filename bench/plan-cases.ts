import {
  BOUNDS,
  EXPORTS_OF_NOBODY,
  MATCHED_BY_FEW,
  MATCHED_BY_MANY,
  MATCHED_BY_NONE,
  MATCHED_BY_TIME,
  SORTS,
  TRAIL_FILTERS,
  USERS,
} from '../test/support/list-plans.ts';

/** What is done alike, and so may cost alike. */
export interface Kind {
  readonly title: string;
  /** What the bound is, and why. */
  readonly reason: string;
  /** What is held against the bound: all statements of a request, or one execution of the dearest, for what goes on in pages. */
  readonly per: 'request' | 'page';
  /** @param total the number of matches that a list answers with; null if there are too many to count */
  readonly bound: (total: number | null) => number;
}

/** A request of staff. */
export interface PlanCase {
  readonly kind: Kind;
  readonly path: string;
  /** Measures the second page instead, whose cursor the first gives. */
  readonly isSecondPage?: boolean;
  /** Reads so much of the answer only: the rest of an export costs the same, page by page. */
  readonly readsBytes?: number;
}

/** What requests are about. */
export interface Subjects {
  /** The first partner, which signs in every 15 minutes or so, and its credential. */
  readonly busy: { readonly id: string; readonly credentialId: string };
  /** A partner that signs in once in nine days. */
  readonly quiet: { readonly id: string; readonly credentialId: string };
  readonly webhook: string;
}

const EXPORTED_BYTES = 1_000_000;

const kind = (title: string, bound: number | Kind['bound'], reason: string, per: Kind['per'] = 'request'): Kind => ({
  title,
  reason,
  per,
  bound: typeof bound === 'number' ? () => bound : bound,
});
const number = (value: number): string => value.toLocaleString('en');

const NONE = kind(
  'Lists of partners that nobody matches',
  BOUNDS.none,
  `${number(BOUNDS.none)}: an index must know that there is nothing, so that only its branches are read.`,
);
const FEW = kind(
  'Lists of partners that few match',
  BOUNDS.few,
  `${number(BOUNDS.few(0))}, and 12 for each match: each match is looked up with its credentials and its last use to be filtered and sorted. 60,000 if there are more matches than lists count.`,
);
const MANY = kind(
  'Lists of partners that many match',
  BOUNDS.many,
  `${number(BOUNDS.many)}: counting ends at 10,000 matches, and a walk in the order of the list finds the page soon.`,
);
const TIME = kind(
  'Lists of partners by time',
  BOUNDS.time,
  `${number(BOUNDS.time)}: counting ends at 10,000 matches, each of which is looked up in the tables that the filter is about.`,
);
const EXPORT_PAGE = kind(
  'Exports, a page',
  5_000,
  '5,000: the dearest statement of a page reads up to 100 rows, and walks over up to 10,000 that do not match.',
  'page',
);
const TRAIL = kind(
  'The audit trail',
  BOUNDS.trail,
  `${number(BOUNDS.trail)}: a page of 50 events, each found by an index in the order of the list.`,
);
const PARTNER = kind(
  'A partner',
  1_000,
  '1,000: sign-ins have a partition for each of the 90 days that they are kept, and each is asked through its index.',
);
const OTHER = kind(
  'Other lists',
  2_000,
  '2,000: a page of 50 rows, each found by an index in the order of the list, or a few hundred that are looked up and sorted.',
);
const SCOPES = kind(
  'Scopes',
  BOUNDS.scopes,
  `${number(BOUNDS.scopes)}: the numbers of partners are kept as differences, and the partners are not read.`,
);
const OVERVIEW = kind(
  'The overview',
  BOUNDS.overview,
  `${number(BOUNDS.overview)}: it counts five kinds of rows, each up to 10,000, once in five seconds for all who look.`,
);
const BATCH_JOB = kind(
  'Scheduled jobs that change rows, the dearest statement',
  35_000,
  '35,000: a statement changes a batch of 500 to 5,000 rows, and the more indexes a table has, the smaller the batch.',
  'page',
);
const OTHER_JOB = kind(
  'Other scheduled jobs, the dearest statement',
  1_000,
  '1,000: it reads a page of rows, or looks whether there is anything to do.',
  'page',
);
/** The names of the jobs that find rows to change in the benchmark's database. */
const BATCH_JOBS = new Set([
  'Wiping the passwords of expired links',
  'Scanning for notices',
  'Merging the counts of channel users',
  "Maintaining the sign-in log's tables",
  'Deleting expired revocations',
  'Deleting old call counts',
  'Writing call counts',
]);
export const kindOfJob = (name: string): Kind => (BATCH_JOBS.has(name) ? BATCH_JOB : OTHER_JOB);

/** What sign-ins and guarded calls leave to be written, in batches of up to 500. */
export const WRITE = kind(
  'What tokens and guarded calls write, the dearest statement',
  35_000,
  '35,000: a batch has up to 500 rows, as those of jobs.',
  'page',
);

function listsOfPartners(): PlanCase[] {
  const lists = (of: Kind, filters: readonly string[]): PlanCase[] =>
    filters.flatMap((filter) =>
      SORTS.map((sort) => ({ kind: of, path: `${USERS}?sort=${sort}${filter === '' ? '' : `&${filter}`}` })),
    );
  const many = lists(MANY, MATCHED_BY_MANY);
  return [
    ...lists(NONE, MATCHED_BY_NONE),
    ...lists(FEW, MATCHED_BY_FEW),
    ...many.flatMap((each) => [each, { ...each, isSecondPage: true }]),
    ...lists(TIME, MATCHED_BY_TIME),
  ];
}

function otherLists({ busy, quiet, webhook }: Subjects): PlanCase[] {
  const of = (kindOfAll: Kind, paths: readonly string[]): PlanCase[] =>
    paths.map((path) => ({ kind: kindOfAll, path }));
  const ofPartner = ({ id, credentialId }: Subjects['busy']): string[] => [
    `${USERS}/${id}`,
    `${USERS}/${id}/credentials`,
    `${USERS}/${id}/grants`,
    `${USERS}/${id}/handovers`,
    `${USERS}/${id}/activity`,
    `${USERS}/${id}/activity?outcome=token`,
    `${USERS}/${id}/activity?outcome=refused`,
    `${USERS}/${id}/credentials/${credentialId}/impact`,
  ];
  const trail = ['', ...TRAIL_FILTERS, 'action=grant.given', `target=${busy.id}`].map(
    (filter) => `/admin/audit-events${filter === '' ? '' : `?${filter}`}`,
  );
  return [
    ...of(PARTNER, [...ofPartner(busy), ...ofPartner(quiet)]),
    { kind: PARTNER, path: `${USERS}/${busy.id}/activity`, isSecondPage: true },
    ...of(TRAIL, trail),
    { kind: TRAIL, path: '/admin/audit-events', isSecondPage: true },
    ...of(OTHER, [
      '/admin/grants?resourceType=property&resourceId=7',
      '/admin/grants?resourceType=property&resourceId=shared',
      '/admin/notices',
      '/admin/notices?type=channel_user.suspended',
      '/admin/notices?type=sign_in.failing',
      '/admin/notices?state=given-up',
      '/admin/notices?state=pending',
      '/admin/notices?state=delivered',
      `/admin/notices?webhook=${webhook}`,
      '/admin/webhooks',
      '/admin/staff',
      '/admin/staff/sign-in-failures',
      '/admin/signing-keys',
      `${USERS}/imports`,
      '/admin/audit-events/chain',
    ]),
    ...of(SCOPES, ['/admin/scopes']),
    ...of(OVERVIEW, ['/admin/overview']),
  ];
}

function exports(): PlanCase[] {
  const pages = [
    ...['', 'scope=calendar:write', 'status=suspended', 'expiringWithinDays=30', 'silentForDays=30', 'q=partner'].map(
      (filter) => `${USERS}/export${filter === '' ? '' : `?${filter}`}`,
    ),
    '/admin/audit-events/export',
    '/admin/audit-events/export?action=grant.given',
    '/admin/audit-events/export?actor=cli',
  ];
  return [
    ...EXPORTS_OF_NOBODY.map((filter) => ({ kind: NONE, path: `${USERS}/export?${filter}` })),
    ...pages.map((path) => ({ kind: EXPORT_PAGE, path, readsBytes: EXPORTED_BYTES })),
  ];
}

/** Every list, filter, sort and search of the staff API, the overview, and the exports. */
export const casesOf = (subjects: Subjects): PlanCase[] => [
  ...listsOfPartners(),
  ...otherLists(subjects),
  ...exports(),
];
