/** An answer of the running application. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON. Throws if the body is not JSON. */
  json<T = Record<string, unknown>>(): T;
  /**
   * Returns the answer itself, for `(await app.request(…)).expect(201).json()`.
   *
   * @throws Error with the answer's explanation, if its status differs
   */
  expect(status: number): Answer;
}

interface Problem {
  readonly code?: string;
  readonly detail?: string;
  readonly errors?: readonly { readonly field: string; readonly messages: readonly string[] }[];
}

const MODULE_HINT =
  'Is the module in `features` of src/app.module.ts, or in the application that createTestApp() was given?';

/** The explanation in an answer: the problem's code, detail and errors, or the text. */
function explanationOf(status: number, headers: Headers, text: string): string {
  if (headers.get('content-type')?.startsWith('application/problem+json') !== true) {
    return text === '' ? 'with no body.' : `with ${text}`;
  }
  const { code = '', detail = '', errors = [] } = JSON.parse(text) as Problem;
  const lines = errors.map(({ field, messages }) => `  ${field === '' ? 'body' : field}: ${messages.join(', ')}`);
  if (status === 404 && code === 'route.not-found') lines.push(`  ${MODULE_HINT}`);
  return [`with ${code}: ${detail}`, ...lines].join('\n');
}

/** @param call the call, such as `GET /me`, for the message of a failure */
export async function answerOf(call: string, response: Response): Promise<Answer> {
  const { status, headers } = response;
  const text = await response.text();
  const said = (): string => explanationOf(status, headers, text);
  const answer: Answer = {
    status,
    headers,
    text,
    json: <T>() => {
      try {
        return JSON.parse(text) as T;
      } catch (cause) {
        throw new Error(`${call} answered ${String(status)}, and not in JSON: ${text}`, { cause });
      }
    },
    expect: (expected) => {
      if (status === expected) return answer;
      throw new Error(`${call} answered ${String(status)} instead of ${String(expected)}, ${said()}`);
    },
  };
  return answer;
}
