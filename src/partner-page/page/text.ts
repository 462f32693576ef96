import type { Text, TimeWord } from '../words/text.ts';
import { hintOf, localTime, relativeTo } from '../words/time.ts';
import { button, h } from './dom.ts';

/** How often relative times are written anew, in milliseconds. */
const NOW_MS = 30_000;

function timeElement({ at, as }: TimeWord): HTMLTimeElement {
  const date = new Date(at);
  const element = h('time', { datetime: date.toISOString(), tabindex: '0', 'data-hint': hintOf(date, as) });
  element.dataset['as'] = as;
  write(element);
  return element;
}

function write(element: HTMLTimeElement): void {
  const date = new Date(element.dateTime);
  const as = element.dataset['as'] as TimeWord['as'];
  element.textContent = as === 'relative' ? relativeTo(Date.now(), date) : localTime(date, as);
}

/** Writes relative times anew while the page is open: "3 minutes ago" becomes "4 minutes ago". */
export function keepTimes(): void {
  setInterval(() => {
    document.querySelectorAll<HTMLTimeElement>('time[data-as="relative"]').forEach(write);
  }, NOW_MS);
}

/** The event of an element that asks for the look-up of a request. `detail` is the request's id. */
export const LOOK_UP = 'look-up-request';

/** The elements of a text. */
export const words = (text: Text): (Node | string)[] =>
  text.map((word) => {
    if (typeof word === 'string') return word;
    if ('code' in word) return h('code', {}, word.code);
    if ('at' in word) return timeElement(word);
    const link = button(
      word.request,
      () => {
        link.dispatchEvent(new CustomEvent(LOOK_UP, { bubbles: true, detail: word.request }));
      },
      { class: 'link' },
    );
    return link;
  });
