import { second, type Text } from './text.ts';

const ID = /(?<![0-9a-f-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f-])/gi;

/**
 * Finds the request id in a text as people paste it, such as `X-Request-Id: 3F8F…`.
 *
 * @returns undefined if the text has none, or several
 */
export function requestIdIn(text: string): string | undefined {
  const [id, ...others] = new Set(text.toLowerCase().match(ID));
  return others.length === 0 ? id : undefined;
}

/** What became of a request, as the API tells staff and partner alike. */
export interface RequestRecord {
  readonly requestId: string;
  readonly at: string;
  readonly asked: string;
  readonly answered: string;
  readonly reason: string | null;
  readonly hint: string | null;
  readonly signIn: { readonly count: number } | null;
  readonly call: { readonly count: number } | null;
}

/** What was asked, what was answered, why, and what to do: each with its name. */
export function requestFacts({
  at,
  asked,
  answered,
  reason,
  hint,
  signIn,
  call,
}: RequestRecord): (readonly [name: string, text: Text])[] {
  const more = ((signIn ?? call)?.count ?? 1) - 1;
  return [
    ['Asked', [asked]],
    ['Answered', [answered]],
    ...(reason === null ? [] : [['Why', [reason]] as const]),
    ...(hint === null ? [] : [['What to do', [hint]] as const]),
    ['When', [second(at), ...(more > 0 ? [` and ${more.toLocaleString('en-GB')} more alike in the same minute`] : [])]],
  ];
}
