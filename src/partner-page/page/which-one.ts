import { isLive, statusWords } from '../words/credential.ts';
import { api, type OwnCredential } from './api.ts';
import { h } from './dom.ts';
import { fingerprintOf } from './fingerprint.ts';
import { onSubmit, passwordField, problemLine } from './form.ts';
import type { Session } from './session.ts';

/** Says which of the partner's passwords a text is. */
function answerOf(password: string, all: readonly OwnCredential[]): string {
  const fingerprint = fingerprintOf(password);
  const found = all.find((credential) => credential.fingerprint === fingerprint);
  if (found) return `This is “${found.label}”, fingerprint ${fingerprint}: ${statusWords(found, all)}.`;
  const trimmed = fingerprintOf(password.trim());
  const nearly = trimmed === fingerprint ? undefined : all.find((credential) => credential.fingerprint === trimmed);
  if (nearly) {
    return `This would be “${nearly.label}”, but it has a space at its start or end. Latchkey takes a password exactly as it is sent.`;
  }
  const imported = all.filter((credential) => credential.fingerprint === null && isLive(credential));
  const rest =
    imported.length === 0
      ? ''
      : ` It may be ${imported.map(({ label }) => `“${label}”`).join(' or ')}, which came from an older system and has no fingerprint.`;
  return `None of your passwords has the fingerprint ${fingerprint}.${rest}`;
}

/** A form that says which password somebody holds. Nothing of it leaves the browser. */
export function whichOne(session: Session): HTMLElement {
  const password = passwordField(
    'Password',
    'This page computes the fingerprint in your browser, and sends the password nowhere.',
  );
  password.input.autocomplete = 'off';
  const answer = h('p', { role: 'status', class: 'answer' });
  const submit = h('button', { type: 'submit' }, 'Check');
  password.root.querySelector('.entry')?.append(submit);
  const problem = problemLine();
  const form = h('form', { method: 'post' }, password.root, problem, answer);
  password.input.addEventListener('input', () => {
    answer.textContent = '';
  });
  onSubmit(form, submit, problem, async () => {
    const { items } = await api.credentials(session);
    answer.textContent = answerOf(password.input.value, items);
  });
  return form;
}
