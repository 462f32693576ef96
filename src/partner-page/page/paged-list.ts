import type { Page } from './api.ts';
import { button, h } from './dom.ts';
import { load } from './loading.ts';

interface PagedList<T, E> {
  /** Names the items in messages, such as "the sign-ins". */
  readonly what: string;
  readonly nothing: () => string;
  readonly ask: (cursor: string | null) => Promise<Page<T>>;
  /** Makes entries of items, such as one of several equal items. */
  readonly fold: (items: readonly T[]) => readonly E[];
  /** @param newer the entry above */
  readonly entry: (item: E, newer: E | undefined) => Node;
}

/** A list that starts with the newest items and loads page by page. @returns the list, and what loads it anew */
export function pagedList<T, E>({ what, nothing, ask, fold, entry }: PagedList<T, E>): [HTMLElement, () => void] {
  const root = h('div', {});
  /** Answers to an earlier question are dropped. */
  let question = 0;
  const show = (items: readonly T[], nextCursor: string | null): void => {
    const entries = fold(items);
    const list = h('ol', { class: 'rows' }, ...entries.map((each, i) => h('li', {}, entry(each, entries[i - 1]))));
    if (entries.length === 0) root.replaceChildren(h('p', { class: 'quiet' }, nothing()));
    else if (nextCursor === null) root.replaceChildren(list, h('p', { class: 'quiet' }, 'There are no older entries.'));
    else
      root.replaceChildren(
        list,
        button('Show older', () => void older(items, nextCursor)),
      );
  };
  const older = (items: readonly T[], cursor: string): Promise<void> => {
    const asked = ++question;
    return load(
      root,
      what,
      () => ask(cursor),
      (page) => {
        if (asked !== question) return;
        const count = root.querySelectorAll('li').length;
        show([...items, ...page.items], page.nextCursor);
        root.querySelectorAll<HTMLElement>('.rows > li')[count]?.querySelector('h3')?.focus();
      },
    );
  };
  const first = (): void => {
    const asked = ++question;
    void load(
      root,
      what,
      () => ask(null),
      ({ items, nextCursor }) => {
        if (asked === question) show(items, nextCursor);
      },
    );
  };
  return [root, first];
}
