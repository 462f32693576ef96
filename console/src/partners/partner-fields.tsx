import type { ReactNode } from 'react';
import { BooleanInput, maxLength, NumberInput, required, TextInput } from 'react-admin';
import { Time } from '../feedback.tsx';
import type { ChannelUser, Limits, ListFilter } from './partner-api.ts';
import { PartnerLink, ScopeTags } from './partner-cells.tsx';
import {
  AllowListInput,
  emailProblem,
  emptyIsNull,
  ExpiryInput,
  type InputProps,
  ScopesInput,
  TokenLifeInput,
  tokensPerMinuteProblem,
} from './partner-inputs.tsx';
import { StatusChip } from './status-chip.tsx';
import { durationOf } from './words.ts';

/** A column of the list of partners. */
interface Column<K extends keyof ChannelUser> {
  /** The column's label, if it differs from the field's. */
  readonly label?: string;
  /** Hides the column until the viewer selects it. */
  readonly isHidden?: true;
  readonly align?: 'right';
  readonly sort?: 'ASC' | 'DESC';
  /** Renders the value differently than the partner's page does. */
  readonly render?: (value: ChannelUser[K], partner: ChannelUser) => ReactNode;
}

/** A field that staff can set. */
interface Settable<K extends keyof Limits> {
  readonly section: 'who' | 'limits';
  readonly input: (props: InputProps) => ReactNode;
  /** The value of a new partner. */
  readonly initial: Limits[K];
  /** The words for a missing value or an empty list. */
  readonly empty?: string;
  /** The words for a value in a sentence. */
  readonly words?: (value: NonNullable<Limits[K]>) => string;
  /** Renders a value by itself, if its words do not suffice. */
  readonly render?: (value: NonNullable<Limits[K]>) => ReactNode;
}

type Field<K extends keyof ChannelUser> = {
  readonly label: string;
  readonly column?: Column<K>;
  /** Offers a filter of the list by exactly the typed value, if the API has one. */
  readonly filter?: K extends keyof ListFilter ? 'exact' : never;
} & (K extends keyof Limits ? Settable<K> : { readonly section?: never });

type ReadOnly = 'username' | 'status' | 'lastTokenAt' | 'createdAt';

const date = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
const AS_TYPED = { htmlInput: { dir: 'auto' } };

/**
 * The fields of a partner. The form, the page of a partner, its history, the list, its filters and the import page derive from
 * these rows and show them in this order.
 */
export const PARTNER_FIELDS = {
  username: {
    label: 'Username',
    column: { label: 'Username and name', sort: 'ASC', render: (_, partner) => <PartnerLink partner={partner} /> },
  },
  displayName: {
    label: 'Display name',
    section: 'who',
    initial: '',
    input: (props) => (
      <TextInput
        {...props}
        validate={[required('Type the name of the partner'), maxLength(200)]}
        helperText="The name of the company, for staff."
        slotProps={AS_TYPED}
        autoComplete="off"
        autoFocus
        fullWidth
      />
    ),
  },
  contactEmail: {
    label: 'Contact e-mail',
    section: 'who',
    initial: null,
    column: { label: 'E-mail', isHidden: true },
    input: (props) => (
      <TextInput
        {...props}
        type="email"
        autoComplete="off"
        parse={emptyIsNull}
        validate={emailProblem}
        helperText="The address to write to if something is wrong."
        fullWidth
      />
    ),
  },
  externalId: {
    label: 'CRM id',
    section: 'who',
    initial: null,
    column: { isHidden: true },
    filter: 'exact',
    input: (props) => (
      <TextInput
        {...props}
        autoComplete="off"
        parse={emptyIsNull}
        validate={maxLength(128)}
        helperText="The partner’s id in your CRM. Several accounts may share it."
        slotProps={AS_TYPED}
        fullWidth
      />
    ),
  },
  status: { label: 'State', column: { render: (status) => <StatusChip status={status} /> } },
  scopes: {
    label: 'Scopes',
    section: 'limits',
    initial: [],
    empty: 'none',
    column: { render: (scopes) => <ScopeTags scopes={scopes} /> },
    input: (props) => <ScopesInput {...props} />,
  },
  allowedIps: {
    label: 'Allowed addresses',
    section: 'limits',
    initial: [],
    empty: 'anywhere',
    column: { isHidden: true },
    input: (props) => <AllowListInput {...props} />,
  },
  tokenTtlSeconds: {
    label: 'A token works for',
    section: 'limits',
    initial: 3_600,
    words: durationOf,
    column: { label: 'Token life', isHidden: true },
    input: (props) => <TokenLifeInput {...props} />,
  },
  tokensPerMinute: {
    label: 'Tokens per minute',
    section: 'limits',
    initial: 60,
    column: { label: 'Tokens a minute', isHidden: true, align: 'right' },
    input: (props) => (
      <NumberInput
        {...props}
        validate={tokensPerMinuteProblem}
        helperText="Further requests are refused. A partner that reuses its tokens needs only a few a day."
        min={1}
        step={1}
        fullWidth
      />
    ),
  },
  lastTokenAt: {
    label: 'Last token',
    column: { sort: 'DESC', render: (value) => (value === null ? 'never' : <Time value={value} relative />) },
  },
  expiresAt: {
    label: 'Account expires',
    section: 'limits',
    initial: null,
    empty: 'never',
    words: (value) => date.format(new Date(value)),
    render: (value) => <Time value={value} />,
    column: { label: 'Ends' },
    input: (props) => <ExpiryInput {...props} />,
  },
  selfService: {
    label: 'Self-service',
    section: 'limits',
    initial: true,
    words: (isOn) => (isOn ? 'creates its passwords itself, or staff do' : 'only staff create its passwords'),
    input: (props) => (
      <BooleanInput
        {...props}
        helperText="The partner may create a new password by itself, with one that works. Staff get a notice."
      />
    ),
  },
  notes: {
    label: 'Notes',
    section: 'who',
    initial: null,
    input: (props) => (
      <TextInput
        {...props}
        multiline
        maxRows={8}
        parse={emptyIsNull}
        validate={maxLength(4000)}
        helperText="For staff only."
        slotProps={AS_TYPED}
        fullWidth
      />
    ),
  },
  createdAt: { label: 'Added', column: { isHidden: true, sort: 'DESC', render: (value) => <Time value={value} /> } },
} satisfies { [K in keyof Limits | ReadOnly]: Field<K> };

type Fields = typeof PARTNER_FIELDS;
/** A field by whose exact value the list can be filtered. */
export type ExactFilter = { [K in keyof Fields]: Fields[K] extends { filter: 'exact' } ? K : never }[keyof Fields];

/** A row of {@link PARTNER_FIELDS} for any field. */
interface AnyField {
  readonly label: string;
  readonly filter?: 'exact';
  readonly column?: Omit<Column<never>, 'render'> & {
    readonly render?: (value: never, partner: ChannelUser) => ReactNode;
  };
  readonly section?: 'who' | 'limits';
  readonly input?: (props: InputProps) => ReactNode;
  readonly initial?: unknown;
  readonly empty?: string;
  readonly words?: (value: never) => string;
  readonly render?: (value: never) => ReactNode;
}

const FIELDS: Record<keyof typeof PARTNER_FIELDS, AnyField> = PARTNER_FIELDS;
const NAMES = Object.keys(FIELDS) as (keyof typeof PARTNER_FIELDS)[];

/** Names of the fields that staff can change. */
export const LIMIT_NAMES = NAMES.filter((name) => FIELDS[name].section !== undefined) as (keyof Limits)[];
export const FIELD_WORDS = Object.fromEntries(NAMES.map((name) => [name, FIELDS[name].label])) as Record<
  keyof typeof PARTNER_FIELDS,
  string
>;
export const NEW_PARTNER = Object.fromEntries(LIMIT_NAMES.map((name) => [name, FIELDS[name].initial])) as Limits;

export const EXACT_FILTERS = NAMES.filter((name) => FIELDS[name].filter === 'exact') as ExactFilter[];

/** The inputs of one section of the form. */
export function FieldInputs({ section, without = [] }: { section: 'who' | 'limits'; without?: (keyof Limits)[] }) {
  const names = LIMIT_NAMES.filter((name) => FIELDS[name].section === section && !without.includes(name));
  return names.map((name) => <FieldInput key={name} name={name} />);
}

export function FieldInput({ name }: { name: keyof Limits }) {
  return PARTNER_FIELDS[name].input({ source: name, label: PARTNER_FIELDS[name].label });
}

type Value = Limits[keyof Limits] | undefined;
const isEmpty = (value: unknown): boolean =>
  value === null || value === undefined || value === '' || (Array.isArray(value) && value.length === 0);

/** A value in the form used in a sentence. */
export function shownAs(name: keyof Limits, value: Value): string {
  const { empty = 'empty', words } = FIELDS[name];
  if (isEmpty(value)) return empty;
  if (words) return words(value as never);
  return Array.isArray(value) ? value.join(', ') : String(value);
}

/** A value by itself. */
export function FieldValue({ name, value }: { name: keyof Limits; value: Value }) {
  const { render } = FIELDS[name];
  return render && !isEmpty(value) ? render(value as never) : shownAs(name, value);
}

/** The words for a field's value in the audit trail, if the field has its own. */
export function wordsOf(name: string, value: unknown): string | undefined {
  const words = (FIELDS as Partial<Record<string, AnyField>>)[name]?.words;
  return words && !isEmpty(value) ? words(value as never) : undefined;
}

interface ListColumn {
  readonly name: keyof ChannelUser;
  readonly label: string;
  readonly column: Pick<Column<never>, 'isHidden' | 'align' | 'sort'>;
  readonly render: (partner: ChannelUser) => ReactNode;
}

function cellOf(name: keyof typeof PARTNER_FIELDS, partner: ChannelUser): ReactNode {
  const { column, section, empty } = FIELDS[name];
  const value = partner[name];
  if (column?.render) return column.render(value as never, partner);
  if (section === undefined || (isEmpty(value) && empty === undefined)) return String(value ?? '');
  return <FieldValue name={name as keyof Limits} value={value} />;
}

const COLUMNS: ListColumn[] = NAMES.flatMap((name) => {
  const { column, label } = FIELDS[name];
  if (!column) return [];
  return { name, column, label: column.label ?? label, render: (partner) => cellOf(name, partner) };
});

/** The columns of the list. Columns that are hidden at first come last. */
export const LIST_COLUMNS: readonly ListColumn[] = [
  ...COLUMNS.filter(({ column }) => !column.isHidden),
  ...COLUMNS.filter(({ column }) => column.isHidden),
];
