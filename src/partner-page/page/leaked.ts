import { reportLeaked } from './api.ts';
import { openDialog } from './dialog.ts';
import { button, focusOn, h } from './dom.ts';
import { field, onSubmit, passwordField, problemLine } from './form.ts';

const WARNING = [
  'This ends the password at once, and every password that was created with it, directly or indirectly. Their tokens end too.',
  'Systems that use them stop working, even if no other password is left. This cannot be undone.',
] as const;

/**
 * Asks for a password that leaked, and ends it.
 *
 * @param username of the signed-in partner; without one, the form asks for it
 * @param onReported called when the person closes the dialog after a report
 */
export function openLeaked(ended: AbortSignal, username?: string, onReported: () => void = () => undefined): void {
  openDialog({ title: 'My password leaked', ended }, (close) => {
    const name = field('Username', {
      autocomplete: 'username',
      autocapitalize: 'off',
      spellcheck: 'false',
      required: true,
      maxlength: '256',
    });
    const password = passwordField('The password that leaked');
    const problem = problemLine();
    const submit = h('button', { type: 'submit', class: 'primary danger' }, 'End this password');
    const form = h(
      'form',
      { method: 'post' },
      h('div', { class: 'notice' }, ...WARNING.map((text) => h('p', {}, text))),
      username === undefined && name.root,
      password.root,
      problem,
      h('div', { class: 'actions' }, submit, button('Cancel', close)),
    );
    onSubmit(form, submit, problem, async () => {
      await reportLeaked(username ?? name.input.value, password.input.value);
      const done = h(
        'p',
        {},
        h('strong', {}, 'Reported. '),
        'If it was a password of this account, it no longer works, and your contact has been told.',
      );
      const next = h(
        'p',
        {},
        'If your software used it, give it another password that works, or ask your contact for a new one.',
      );
      form.replaceWith(
        done,
        next,
        h(
          'div',
          { class: 'actions' },
          button('Close', () => {
            close();
            onReported();
          }),
        ),
      );
      focusOn(done);
    });
    return [form];
  });
}
