import { button, h } from './dom.ts';
import { SignedOutError, wordsOf } from './problem.ts';

/**
 * Loads what a part of the page shows. What was shown before stays visible until the answer is there.
 *
 * @param what names the data in messages, such as "the sign-ins"
 * @param show draws the answer into the part
 */
export async function load<T>(
  part: HTMLElement,
  what: string,
  ask: () => Promise<T>,
  show: (data: T) => void,
): Promise<void> {
  if (part.childElementCount === 0) part.append(h('p', { class: 'loading', role: 'status' }, `Loading ${what} …`));
  try {
    const data = await ask();
    part.querySelector(':scope > .failure')?.remove();
    part.querySelector(':scope > .loading')?.remove();
    show(data);
  } catch (error) {
    if (error instanceof SignedOutError) return;
    showFailure(part, what, wordsOf(error), () => void load(part, what, ask, show));
  }
}

function showFailure(part: HTMLElement, what: string, message: string, retry: () => void): void {
  const isEmpty = part.querySelector(':scope > .loading') !== null || part.childElementCount === 0;
  part.querySelector(':scope > .loading')?.remove();
  part.querySelector(':scope > .failure')?.remove();
  const first = isEmpty ? `Could not load ${what}. ` : `Could not refresh ${what}; showing the last known state. `;
  part.prepend(
    h('div', { class: 'failure notice', role: 'alert' }, h('p', {}, first + message), button('Try again', retry)),
  );
}

/** Draws a part anew, unless it would look the same. The focus stays on the control with the same `data-key`. */
export function redraw(part: HTMLElement, ...content: readonly Node[]): void {
  const next = h('div', {}, ...content);
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const key = focused instanceof HTMLElement ? focused.dataset['key'] : undefined;
  part.replaceChildren(...next.childNodes);
  if (key !== undefined) part.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`)?.focus();
}
