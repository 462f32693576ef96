import { requestFacts, requestIdIn } from '../words/request.ts';
import { api } from './api.ts';
import { button, focusOn, h } from './dom.ts';
import { field, onSubmit, problemLine } from './form.ts';
import { Problem } from './problem.ts';
import type { Session } from './session.ts';
import { LOOK_UP, words } from './text.ts';

const WHERE = 'Every answer has it in the header X-Request-Id, and an error also in its body as requestId.';
const MALFORMED = `This is not a request id. A request id has 32 hexadecimal digits in five groups, such as 3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11. ${WHERE}`;

/**
 * A form that looks up a request by its id, and the place for the result.
 *
 * @param page where request ids are links to the look-up
 */
export function lookUp(session: Session, page: HTMLElement): [form: HTMLElement, result: HTMLElement] {
  const id = field('Request id', {
    type: 'search',
    autocomplete: 'off',
    autocapitalize: 'off',
    spellcheck: 'false',
    maxlength: '500',
    enterkeyhint: 'search',
  });
  const problem = problemLine();
  const submit = h('button', { type: 'submit' }, 'Look up');
  id.root.querySelector('.entry')?.append(submit);
  const form = h('form', { role: 'search', class: 'search', method: 'post' }, id.root, problem);
  const result = h('section', { class: 'found', 'aria-label': 'Request', hidden: true });
  const show = (title: string, ...content: Node[]): void => {
    const heading = h('h2', {}, title);
    const close = button('Close', () => {
      result.hidden = true;
      id.input.focus();
    });
    result.replaceChildren(h('div', { class: 'line' }, heading, close), ...content);
    result.hidden = false;
    focusOn(heading);
  };
  onSubmit(form, submit, problem, async () => {
    result.hidden = true;
    const found = requestIdIn(id.input.value);
    if (found === undefined)
      throw new Problem(id.input.value.trim() === '' ? `Paste a request id. ${WHERE}` : MALFORMED, 0, undefined);
    id.input.value = found;
    try {
      const facts = requestFacts(await api.request(session, found));
      const list = facts.map(([name, text]) => h('div', {}, h('dt', {}, name), h('dd', {}, ...words(text))));
      show(`Request ${found}`, h('dl', { class: 'facts' }, ...list));
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== 'request.not-recorded') throw error;
      show(`There is no record of request ${found}`, h('p', {}, error.message));
    }
  });
  page.addEventListener(LOOK_UP, (event) => {
    id.input.value = (event as CustomEvent<string>).detail;
    form.requestSubmit();
  });
  return [form, result];
}
