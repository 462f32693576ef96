import { openDialog } from './dialog.ts';
import { button, h } from './dom.ts';
import { onSubmit, passwordField, problemLine } from './form.ts';
import { SignedOutError } from './problem.ts';
import type { Session } from './session.ts';
import { type Granted, requestToken } from './token.ts';

/**
 * Asks for the password again, in front of a page that is hidden meanwhile. What was typed there stays.
 *
 * @param signOut ends the session for good, for somebody else at this computer
 */
export const signInAgain = (session: Session, signOut: () => void): Promise<Granted> =>
  new Promise((resolve, reject) => {
    session.ended.addEventListener('abort', () => {
      reject(new SignedOutError());
    });
    openLock(session, signOut, resolve);
  });

function openLock(session: Session, signOut: () => void, unlock: (granted: Granted) => void): void {
  openDialog({ title: 'Sign in again', mayCancel: false, class: 'lock', ended: session.ended }, (close) => {
    const password = passwordField('Password');
    const problem = problemLine();
    const submit = h('button', { type: 'submit', class: 'primary' }, 'Sign in');
    const username = h('input', {
      type: 'text',
      autocomplete: 'username',
      value: session.username,
      hidden: true,
      readonly: true,
    });
    const form = h(
      'form',
      { method: 'post' },
      h(
        'p',
        {},
        'Your sign-in has ended. To go on where you were, type the password of ',
        h('strong', {}, h('bdi', {}, session.username)),
        ' again. What you have typed is kept.',
      ),
      username,
      password.root,
      problem,
      h('div', { class: 'actions' }, submit, button('Sign out', signOut)),
    );
    onSubmit(form, submit, problem, async () => {
      const granted = await requestToken(session.username, password.input.value, session.ended);
      close();
      unlock(granted);
    });
    return [form];
  });
}
