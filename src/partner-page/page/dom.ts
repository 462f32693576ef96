type Child = Node | string | false | undefined;
type Attributes = Readonly<Record<string, string | boolean | undefined>>;

/**
 * Makes an element. Texts become text nodes, so that no value is ever read as HTML.
 *
 * @param attributes `true` sets an attribute without a value, `false` and `undefined` leave it out
 */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

/** An element of page.html. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`page.html has no ${type.name} with the id ${id}`);
  return element;
}

export function button(
  label: Child | readonly Child[],
  onClick: () => void,
  attributes: Attributes = {},
): HTMLButtonElement {
  const made = h('button', { type: 'button', ...attributes }, ...[label].flat());
  made.addEventListener('click', onClick);
  return made;
}

/** Moves the focus to a heading or a message, so that screen readers read it. */
export function focusOn(element: HTMLElement): void {
  element.tabIndex = -1;
  element.focus();
}

let lastId = 0;
/** An id that no other element has, for labels and descriptions. */
export const newId = (): string => `part-${String(++lastId)}`;

/** Tells screen readers a text. They read only what is in the topmost dialog, if there is one. */
export function announce(text: string): void {
  const place = [...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body;
  let status = place.querySelector(':scope > .announcement');
  if (!status) {
    status = h('p', { class: 'announcement unseen', role: 'status' });
    place.append(status);
  }
  // Clears the text first, since screen readers do not announce an unchanged text.
  status.textContent = '';
  const told = status;
  setTimeout(() => {
    told.textContent = text;
  });
}
