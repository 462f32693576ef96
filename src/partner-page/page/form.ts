import { h, newId } from './dom.ts';
import { SignedOutError, wordsOf } from './problem.ts';

/** An input with its label and a line of help. */
export interface Field {
  readonly root: HTMLElement;
  readonly input: HTMLInputElement;
}

export function field(
  label: string,
  attributes: Readonly<Record<string, string | boolean | undefined>>,
  help?: string,
): Field {
  const id = newId();
  const input = h('input', { id, ...attributes, 'aria-describedby': help === undefined ? undefined : `${id}-help` });
  const root = h(
    'div',
    { class: 'field' },
    h('label', { for: id }, label),
    h('div', { class: 'entry' }, input),
    help !== undefined && h('p', { class: 'help', id: `${id}-help` }, help),
  );
  return { root, input };
}

/** An input for a password that the browser may offer to fill in. */
export const passwordField = (label: string, help?: string): Field =>
  field(label, { type: 'password', autocomplete: 'current-password', required: true, maxlength: '256' }, help);

/** A line for what went wrong. Screen readers read it when it changes. */
export const problemLine = (): HTMLElement => h('p', { class: 'problem', role: 'alert' });

/**
 * Lets a form work by script alone: the browser never sends it. While it works, another press does nothing.
 *
 * @param act does the work; what it throws is shown in the line for problems
 */
export function onSubmit(
  form: HTMLFormElement,
  submit: HTMLButtonElement,
  problem: HTMLElement,
  act: () => Promise<void>,
): void {
  let isBusy = false;
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (isBusy) return;
    isBusy = true;
    submit.setAttribute('aria-disabled', 'true');
    problem.textContent = '';
    act()
      .catch((error: unknown) => {
        if (!(error instanceof SignedOutError)) problem.textContent = wordsOf(error);
      })
      .finally(() => {
        isBusy = false;
        submit.removeAttribute('aria-disabled');
      });
  });
}
