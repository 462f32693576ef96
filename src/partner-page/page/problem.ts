import { durationOf } from '../words/time.ts';

/** A request that failed, in words for the reader. */
export class Problem extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string | undefined,
  ) {
    super(message);
  }
}

/** The person signed out, or left the page. Nobody is told. */
export class SignedOutError extends Error {}

const NO_RESPONSE = 'There was no response. Check your connection and try again.';

export const noResponse = (): Problem => new Problem(NO_RESPONSE, 0, undefined);

/** When to try again, by the `Retry-After` of an answer. */
export function retryWords(headers: Headers): string {
  const seconds = Number(headers.get('retry-after') ?? '');
  return seconds > 0 ? `Try again in ${durationOf(seconds)}.` : 'Try again in a moment.';
}

/** The API's detail for any invalid input. The messages of the fields are more precise. */
const GENERAL = 'The request is not valid.';

interface ProblemBody {
  readonly code?: string;
  readonly detail?: string;
  readonly errors?: readonly { readonly field: string; readonly messages: readonly string[] }[];
}

/** The words for an answer of the API that is an error (RFC 9457). A proxy may answer without a problem document. */
export async function problemOf(response: Response): Promise<Problem> {
  const { status, headers } = response;
  const body = (await response.json().catch(() => ({}))) as ProblemBody;
  return new Problem(messageOf(status, headers, body), status, body.code);
}

function messageOf(status: number, headers: Headers, { detail, errors = [] }: ProblemBody): string {
  if (status === 429) return `There were too many attempts. ${retryWords(headers)}`;
  if (status === 503) return `The service cannot answer right now. ${retryWords(headers)}`;
  if (detail === undefined) return 'Something went wrong on our side. Try again in a moment.';
  const [first] = errors.flatMap(({ field, messages }) => messages.map((message) => `“${field}” ${message}.`));
  return detail === GENERAL ? (first ?? detail) : detail;
}

/** The words for any failure, to show beside what was tried. */
export const wordsOf = (error: unknown): string =>
  error instanceof Problem ? error.message : 'Something went wrong on this page. Reload it and try again.';
