import type { Schemas } from './types.ts';

/** The API's messages about one field. `field` is empty for the body as a whole. */
export type FieldError = Schemas['FieldErrorDto'];

/** The further members of a refused import. */
interface Counts {
  readonly rows?: number;
  readonly failed?: number;
  readonly errorCount?: number;
}

/** A problem with optional members, since a proxy's answer may lack any of them. */
type Problem = Partial<Schemas['ProblemDto']> & Counts;

/** The API's messages about one field as a sentence: `must be text` becomes `Must be text.` */
export const sentenceOf = (messages: readonly string[]): string =>
  `${messages.join('; ').replace(/^./, (first) => first.toUpperCase())}.`.replace(/([.!?])\.$/, '$1');

/** What the own answers of a proxy mean, which have no detail. */
const PROXY_ANSWERS: Record<number, string> = {
  413: 'A proxy in front of Latchkey refuses requests of this size. Whoever runs it can allow them, see the deployment guide.',
  502: 'A proxy in front of Latchkey got no answer from it. Try again in a minute.',
  504: 'A proxy in front of Latchkey got no answer from it. Try again in a minute.',
};

/** The API refused a request or could not be reached. `message` is a sentence for staff. */
export class ApiError extends Error {
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  /** `module.reason`; `network.offline` when no answer came. */
  readonly code: string;
  readonly detail: string;
  readonly errors: FieldError[];
  readonly requestId: string | undefined;
  /** Seconds after which the server wants to be asked again. */
  readonly retryAfter: number | undefined;
  readonly extension: Counts;
  /** Where react-admin looks for the messages of a form's fields. */
  readonly body: { errors: Record<string, string> };

  constructor(status: number, { detail, code, requestId, errors = [], ...extension }: Problem, retryAfter?: number) {
    super(detail ?? PROXY_ANSWERS[status] ?? `The server answered ${String(status)}.`);
    this.name = 'ApiError';
    this.status = status;
    this.code = code ?? 'server.error';
    this.detail = this.message;
    this.errors = errors;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
    this.extension = extension;
    const messages: Record<string, string> = {};
    for (const { field, messages: broken } of errors) {
      if (field === '') continue;
      // The message about an item of a list is shown at the list.
      const [input = field] = field.split('.');
      messages[input] ??= sentenceOf(broken);
    }
    this.body = { errors: messages };
  }
}

/** Whether a query asks again after an error. A refusal stays the same, so only failures are tried three times more. */
export const mayRetry = (failures: number, error: unknown): boolean =>
  failures < 3 && !(error instanceof ApiError && error.status >= 400 && error.status < 500);

/** Whether the server does not know the path, as an instance with an older version while an update is under way. */
export const isUnknownRoute = (error: unknown): boolean =>
  error instanceof ApiError && error.code === 'route.not-found';

/** Event on `window` when the API no longer accepts the session. The layout then asks for a new sign-in. */
export const SIGNED_OUT = 'latchkey:signed-out';
const SESSION_OVER = 'Your session had ended, so nothing was changed. Sign in and try again.';
let answeredAt = Date.now();
/** @returns milliseconds since the server last heard from this page with a session that it knew */
export const idleFor = (): number => Date.now() - answeredAt;

/** Event on `window` when the person has to set up a second factor first. */
export const ENROLMENT_REQUIRED = 'latchkey:enrolment-required';

function retryAfterOf({ headers }: Response): number | undefined {
  const seconds = Number(headers.get('retry-after'));
  return seconds > 0 ? seconds : undefined;
}

const advice = (seconds: number | undefined): string => {
  if (seconds === undefined) return 'Try again shortly.';
  return seconds < 120
    ? `Try again in ${String(seconds)} ${seconds === 1 ? 'second' : 'seconds'}.`
    : `Try again in ${String(Math.ceil(seconds / 60))} minutes.`;
};

async function problemOf(response: Response): Promise<Problem> {
  const problem = (await response.json().catch(() => ({}))) as Problem;
  if (response.status === 429) {
    return { ...problem, detail: `${problem.detail ?? 'Too many requests.'} ${advice(retryAfterOf(response))}` };
  }
  // The detail of an interrupted import is more precise.
  if (response.status === 503 && problem.code?.startsWith('import.') !== true) {
    return { ...problem, detail: `The service cannot answer right now. ${advice(retryAfterOf(response))}` };
  }
  return problem;
}

export type Query = Record<string, string | number | boolean | null | undefined>;

/** @returns the path with the query values that are neither absent nor empty */
export function withQuery(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') search.set(name, String(value));
  }
  const text = search.toString();
  return text === '' ? path : `${path}?${text}`;
}

/**
 * Sends a request to the staff API, with the session's cookie.
 *
 * @param path absolute path, such as `/admin/channel-users`
 * @returns the parsed JSON body (`undefined` without a body), and the headers, for `ETag`
 * @throws ApiError for an answer other than 2xx, and without an answer
 */
export async function api<T>(
  method: string,
  path: string,
  {
    query,
    json,
    body,
    headers = {},
    signal,
  }: {
    query?: Query;
    json?: unknown;
    body?: Blob;
    headers?: Record<string, string>;
    signal?: AbortSignal | undefined;
  } = {},
): Promise<{ data: T; headers: Headers }> {
  let response: Response;
  try {
    response = await fetch(withQuery(path, query), {
      method,
      credentials: 'same-origin',
      cache: 'no-store',
      headers: {
        accept: 'application/json',
        ...(json !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(json !== undefined && { body: JSON.stringify(json) }),
      ...(body && { body }),
      ...(signal && { signal }),
    });
  } catch (error) {
    // The caller aborted the request and handles its own signal.
    if (signal?.aborted) throw error;
    throw new ApiError(0, {
      code: 'network.offline',
      detail: navigator.onLine
        ? 'Latchkey cannot be reached. The change may or may not have been made: check, then try again.'
        : 'You are offline. Your input is kept. Try again when the connection is back.',
    });
  }
  if (response.status !== 401) answeredAt = Date.now();
  if (!response.ok) {
    const problem = await problemOf(response);
    const isOver = response.status === 401 && !(method === 'POST' && path === '/admin/session');
    const error = new ApiError(
      response.status,
      isOver ? { ...problem, detail: SESSION_OVER } : problem,
      retryAfterOf(response),
    );
    if (isOver) window.dispatchEvent(new Event(SIGNED_OUT));
    if (error.code === 'session.enrolment-required') window.dispatchEvent(new Event(ENROLMENT_REQUIRED));
    throw error;
  }
  const text = await response.text();
  return { data: (text === '' ? undefined : JSON.parse(text)) as T, headers: response.headers };
}
