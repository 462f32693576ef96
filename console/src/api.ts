import type { Schemas } from './types.ts';

/** Which field breaks which rules, in the API's words; `field` is empty for the body as a whole. */
export type FieldError = Schemas['FieldErrorDto'];

/** What the refusal of an import tells besides. */
interface Counts {
  readonly rows?: number;
  readonly failed?: number;
  readonly errorCount?: number;
}

/** A proxy's answer may lack any part. */
type Problem = Partial<Schemas['ProblemDto']> & Counts;

const sentence = (messages: string[]): string => messages.join('; ').replace(/^./, (first) => first.toUpperCase());

/** What the API refused, or why it could not be asked. `message` is a sentence for the person who reads it. */
export class ApiError extends Error {
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  /** `module.reason`; `network.offline` when no answer came. */
  readonly code: string;
  readonly detail: string;
  readonly errors: FieldError[];
  readonly requestId: string | undefined;
  readonly extension: Counts;
  /** Where react-admin looks for the messages of a form's fields. */
  readonly body: { errors: Record<string, string> };

  constructor(status: number, { detail, code, requestId, errors = [], ...extension }: Problem) {
    super(detail ?? `The server answered ${String(status)}.`);
    this.name = 'ApiError';
    this.status = status;
    this.code = code ?? 'server.error';
    this.detail = this.message;
    this.errors = errors;
    this.requestId = requestId;
    this.extension = extension;
    const messages: Record<string, string> = {};
    for (const { field, messages: broken } of errors) {
      if (field === '') continue;
      // An item of a list is shown at the list.
      const [input = field] = field.split('.');
      messages[input] ??= sentence(broken);
    }
    this.body = { errors: messages };
  }
}

/** Said on `window` when the API no longer knows who asks; `auth.tsx` listens and shows the sign-in page. */
export const SIGNED_OUT = 'latchkey:signed-out';
let answeredAt = Date.now();
/** @returns milliseconds since the server last heard from this page with a session that it knew */
export const idleFor = (): number => Date.now() - answeredAt;

/** Said on `window` when somebody has to set up a second factor before anything else. */
export const ENROLMENT_REQUIRED = 'latchkey:enrolment-required';

const wait = (headers: Headers): string => {
  const seconds = Number(headers.get('retry-after'));
  if (!(seconds > 0)) return 'Try again shortly.';
  return seconds < 120
    ? `Try again in ${String(seconds)} ${seconds === 1 ? 'second' : 'seconds'}.`
    : `Try again in ${String(Math.ceil(seconds / 60))} minutes.`;
};

async function problemOf(response: Response): Promise<Problem> {
  const problem = (await response.json().catch(() => ({}))) as Problem;
  if (response.status === 429) {
    return { ...problem, detail: `${problem.detail ?? 'Too many requests.'} ${wait(response.headers)}` };
  }
  if (response.status === 503) {
    return { ...problem, detail: `The service cannot answer right now. ${wait(response.headers)}` };
  }
  return problem;
}

export type Query = Record<string, string | number | boolean | null | undefined>;

/** @returns the path with those query values that are not absent or empty */
export function withQuery(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') search.set(name, String(value));
  }
  const text = search.toString();
  return text === '' ? path : `${path}?${text}`;
}

/**
 * Asks the staff API with the session's cookie.
 *
 * @param path from the root, as in `/admin/channel-users`
 * @returns the body as JSON (`undefined` when there is none) and the headers, for `ETag`
 * @throws ApiError for every answer that is not 2xx and when there is none
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
    // Whoever gave the signal knows why it ended.
    if (signal?.aborted) throw error;
    throw new ApiError(0, {
      code: 'network.offline',
      detail: navigator.onLine
        ? 'Latchkey cannot be reached. Nothing is known to have changed; check and try again.'
        : 'You are offline. What you typed is kept; try again when the connection is back.',
    });
  }
  if (response.status !== 401) answeredAt = Date.now();
  if (!response.ok) {
    const error = new ApiError(response.status, await problemOf(response));
    const signingIn = method === 'POST' && path === '/admin/session';
    if (error.status === 401 && !signingIn) window.dispatchEvent(new Event(SIGNED_OUT));
    if (error.code === 'session.enrolment-required') window.dispatchEvent(new Event(ENROLMENT_REQUIRED));
    throw error;
  }
  const text = await response.text();
  return { data: (text === '' ? undefined : JSON.parse(text)) as T, headers: response.headers };
}
