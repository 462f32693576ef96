import type {
  ChannelUserDescription,
  ChannelUserDto,
  ChannelUserFilterQuery,
  UpdateChannelUserRequest,
} from './channel-user.dto.ts';
import type { ChannelUser } from './model/channel-user.entity.ts';
import { fold } from './search-text.ts';

export type FieldName = keyof ChannelUserDto;
type SettableName = keyof UpdateChannelUserRequest;
type Requested<K extends SettableName> = Exclude<UpdateChannelUserRequest[K], undefined>;

/**
 * How files hold a value. `text` and `lines` are free text: every character is kept, and CSV defuses formulas.
 * `lines` may be long and confidential, so it comes last and errors do not quote it.
 */
type FileForm = 'text' | 'lines' | 'word' | 'list' | 'number' | 'flag' | 'time';

interface InFile {
  readonly form: FileForm;
  /** The value in the import template. The template leaves out columns that have no example. */
  readonly example?: string;
}

interface FieldFilter {
  /** The query parameter of lists and exports. */
  readonly parameter: keyof ChannelUserFilterQuery;
  /** SQL on the alias `channelUser` with the parameter's name. */
  readonly condition: string;
}

interface Common {
  /** Whether `q` searches the value. */
  readonly searched?: true;
  readonly filter?: FieldFilter;
}

/** `show` computes the API's value. Fields whose value the entity already holds in that form have no `show`. */
type Shown<K extends FieldName> = K extends keyof ChannelUser
  ? ChannelUser[K] extends ChannelUserDto[K]
    ? { readonly show?: never }
    : { readonly show: (channelUser: ChannelUser, now: number) => ChannelUserDto[K] }
  : { readonly show: (channelUser: ChannelUser, now: number) => ChannelUserDto[K] };

/** `initial` gives the value of a new account whose request leaves the field out. */
type Initial<K extends SettableName> = undefined extends ChannelUserDescription[K]
  ? { readonly initial: () => ChannelUser[K] }
  : { readonly initial?: never };

/** `read` turns the request's value into the entity's. Fields with one type for both have no `read`. */
type Read<K extends SettableName> =
  Requested<K> extends ChannelUser[K]
    ? { readonly read?: never }
    : { readonly read: (requested: Requested<K>) => ChannelUser[K] };

interface Set {
  /** Whether the audit trail encrypts the value with the partner's own key, which an erasure deletes. */
  readonly personal: boolean;
}

type Field<K extends FieldName> = Common &
  Shown<K> &
  (K extends SettableName
    ? { readonly set: Set & Initial<K> & Read<K>; readonly file: Required<InFile> }
    : { readonly set?: never; readonly personal?: true; readonly file?: InFile });

/**
 * The fields of a channel user, in the order of the API. Answers, changes, the audit trail, search, filters, exports,
 * imports and the import template all derive from these rows.
 */
export const CHANNEL_USER_FIELDS = {
  id: {},
  username: { searched: true, personal: true, file: { form: 'word', example: 'example-partner' } },
  displayName: { searched: true, set: { personal: true }, file: { form: 'text', example: 'Example Partner' } },
  contactEmail: {
    searched: true,
    set: { initial: () => null, personal: true },
    file: { form: 'text', example: 'ops@partner.example' },
  },
  externalId: {
    filter: { parameter: 'externalId', condition: 'channelUser.externalId = :externalId' },
    set: { initial: () => null, personal: false },
    file: { form: 'text', example: 'CRM-10293' },
  },
  status: { show: (channelUser, now) => channelUser.statusAt(now), file: { form: 'word' } },
  scopes: {
    filter: { parameter: 'scope', condition: 'channelUser.scopes @> ARRAY[:scope]::text[]' },
    set: { initial: () => [], personal: false },
    file: { form: 'list', example: 'calendar:write property:read' },
  },
  tokenTtlSeconds: { set: { initial: () => 3600, personal: false }, file: { form: 'number', example: '3600' } },
  tokensPerMinute: { set: { initial: () => 60, personal: false }, file: { form: 'number', example: '60' } },
  allowedIps: {
    set: { initial: () => [], personal: false },
    // A network for documentation (RFC 5737).
    file: { form: 'list', example: '192.0.2.0/24' },
  },
  expiresAt: {
    set: {
      initial: () => null,
      read: (requested) => (requested === null ? null : new Date(requested)),
      personal: false,
    },
    file: { form: 'time', example: '2040-01-31T00:00:00Z' },
  },
  selfService: { set: { initial: () => true, personal: false }, file: { form: 'flag', example: 'true' } },
  notes: {
    set: { initial: () => null, personal: true },
    file: { form: 'lines', example: 'Example: replace this line with your partners' },
  },
  createdAt: { file: { form: 'time' } },
  updatedAt: {},
  lastTokenAt: { file: { form: 'time' } },
  version: {},
} as const satisfies { [K in FieldName | SettableName]: Field<K> };

/** A row of the table, without the types of its field. */
interface AnyField extends Common {
  readonly personal?: true;
  readonly show?: (channelUser: ChannelUser, now: number) => unknown;
  readonly set?: Set & { readonly initial?: () => unknown; readonly read?: (requested: never) => unknown };
  readonly file?: InFile;
}

const FIELDS = Object.entries<AnyField>(CHANNEL_USER_FIELDS) as [FieldName, AnyField][];

/** The resource as the API shows it. */
export const toDto = (channelUser: ChannelUser, now: number): ChannelUserDto =>
  Object.fromEntries(
    FIELDS.map(([name, { show }]) => [
      name,
      show ? show(channelUser, now) : channelUser[name as FieldName & keyof ChannelUser],
    ]),
  ) as unknown as ChannelUserDto;

type Settable = Pick<ChannelUser, SettableName>;
const SETTABLE = FIELDS.flatMap(([name, { set }]) => (set ? [{ ...set, name: name as SettableName }] : []));

/** The fields that staff may change, for the audit trail to compare. */
export const auditable = (channelUser: ChannelUser): Settable =>
  Object.fromEntries(SETTABLE.map(({ name }) => [name, channelUser[name]])) as unknown as Settable;

/** The fields that a request sets, with the entity's values. */
export const requestedFields = (request: UpdateChannelUserRequest): Partial<Settable> =>
  Object.fromEntries(
    SETTABLE.filter(({ name }) => request[name] !== undefined).map(({ name, read }) => [
      name,
      read ? read(request[name] as never) : request[name],
    ]),
  );

/** The fields of a new account. Those that the request leaves out get their initial values. */
export const newFields = (request: ChannelUserDescription): Settable => ({
  ...(Object.fromEntries(SETTABLE.map(({ name, initial }) => [name, initial?.()])) as unknown as Settable),
  ...requestedFields(request),
});

/** The fields whose values the audit trail encrypts. */
export const PERSONAL_FIELDS: readonly string[] = FIELDS.filter(
  ([, { personal, set }]) => personal ?? set?.personal,
).map(([name]) => name);

const SEARCHED = FIELDS.filter(([, { searched }]) => searched).map(([name]) => name as 'username' | 'contactEmail');

/** The text in which `q` searches, with each field {@link fold}ed. */
export const searchTextOf = (channelUser: ChannelUser): string =>
  SEARCHED.map((name) => fold(channelUser[name] ?? '')).join('\n');

export const FIELD_FILTERS = FIELDS.flatMap(([, { filter }]) => filter ?? []);

export interface FileColumn extends InFile {
  readonly name: FieldName;
}

const COLUMNS: FileColumn[] = FIELDS.flatMap(([name, { file }]) => (file ? [{ name, ...file }] : []));

/** The columns of files. Columns of the form `lines` come last. */
export const FILE_COLUMNS: readonly FileColumn[] = [
  ...COLUMNS.filter(({ form }) => form !== 'lines'),
  ...COLUMNS.filter(({ form }) => form === 'lines'),
];

/** Whether people may type any text into the column. */
export const isFreeText = ({ form }: FileColumn): boolean => form === 'text' || form === 'lines';
