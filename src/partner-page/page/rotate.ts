import { durationOf } from '../words/time.ts';
import { api, type OwnCredential } from './api.ts';
import { copyButton } from './copy.ts';
import { openDialog } from './dialog.ts';
import { button, focusOn, h, newId } from './dom.ts';
import { field, onSubmit, passwordField, problemLine } from './form.ts';
import type { Session } from './session.ts';

const DAY = 86_400;
const OVERLAP_DAYS = [7, 5, 3, 2, 1];

function overlapField(): { root: HTMLElement; seconds: () => number } {
  const select = h(
    'select',
    { id: newId() },
    ...OVERLAP_DAYS.map((days) => h('option', { value: String(days * DAY) }, durationOf(days * DAY))),
  );
  const root = h(
    'div',
    { class: 'field' },
    h('label', { for: select.id }, 'How long the old passwords go on after the first use of the new one'),
    h('div', { class: 'entry' }, select),
  );
  return { root, seconds: () => Number(select.value) };
}

/** The new password, shown once, with what to do next. */
function issued(
  session: Session,
  { password, fingerprint }: OwnCredential & { password: string },
  close: () => void,
): Node[] {
  let isSaved = false;
  const ask = (event: BeforeUnloadEvent): void => {
    if (!isSaved) event.preventDefault();
  };
  addEventListener('beforeunload', ask, { signal: session.ended });
  const save = (): void => {
    isSaved = true;
  };
  const shown = h('code', { class: 'secret' }, password);
  return [
    h('p', { class: 'notice' }, 'This is shown only once. Nobody can read it again, not even an admin.'),
    h('dl', {}, h('div', {}, h('dt', {}, 'New password'), h('dd', {}, shown, copyButton(shown, 'Password', save)))),
    h('p', {}, 'Fingerprint ', h('code', {}, fingerprint ?? '')),
    h(
      'p',
      {},
      'Now give it to your software. ',
      h('strong', {}, 'The old passwords go on until your software gets its first token with the new one'),
      '; signing in on this page does not count.',
    ),
    h(
      'div',
      { class: 'actions' },
      button(
        'I have saved it',
        () => {
          save();
          removeEventListener('beforeunload', ask);
          close();
        },
        { class: 'primary' },
      ),
    ),
  ];
}

/** Asks for a password that works, and creates a new one. @param onDone called once there is a new one */
export function openRotate(session: Session, onDone: () => void): void {
  openDialog({ title: 'New password', ended: session.ended }, (close) => {
    const password = passwordField(
      'A password that your software uses now',
      'One that waits for its first use does not count.',
    );
    const label = field(
      'Name of the new password (optional)',
      { maxlength: '100', autocomplete: 'off' },
      'Such as the system that will use it.',
    );
    const overlap = overlapField();
    const problem = problemLine();
    const submit = h('button', { type: 'submit', class: 'primary' }, 'Create password');
    const form = h(
      'form',
      { method: 'post' },
      h('p', {}, 'Your contact is told that you rotate. Your other passwords go on.'),
      password.root,
      label.root,
      overlap.root,
      problem,
      h('div', { class: 'actions' }, submit, button('Cancel', close)),
    );
    onSubmit(form, submit, problem, async () => {
      const name = label.input.value.trim();
      const { credential } = await api.rotate(session, {
        password: password.input.value,
        overlapSeconds: overlap.seconds(),
        ...(name !== '' && { label: name }),
      });
      onDone();
      close();
      showIssued(session, credential);
    });
    return [form];
  });
}

/** In a dialog of its own, which Escape does not close. */
function showIssued(session: Session, credential: OwnCredential & { password: string }): void {
  const dialog = openDialog({ title: 'Your new password', mayCancel: false, ended: session.ended }, (close) =>
    issued(session, credential, close),
  );
  const title = dialog.querySelector('h2');
  if (title) focusOn(title);
}

interface Question {
  readonly title: string;
  readonly text: string;
  /** Label of the field for the password. */
  readonly proof: string;
  readonly verb: string;
  readonly act: (password: string) => Promise<unknown>;
}

/** Asks for a password before something ends. */
function openQuestion(session: Session, { title, text, proof, verb, act }: Question, onDone: () => void): void {
  openDialog({ title, ended: session.ended }, (close) => {
    const password = passwordField(proof);
    const problem = problemLine();
    const submit = h('button', { type: 'submit', class: 'primary danger' }, verb);
    const form = h(
      'form',
      { method: 'post' },
      h('p', {}, text),
      password.root,
      problem,
      h('div', { class: 'actions' }, submit, button('Cancel', close)),
    );
    onSubmit(form, submit, problem, async () => {
      await act(password.input.value);
      close();
      onDone();
    });
    return [form];
  });
}

/** Ends a rotation that the partner began itself. */
export function openWithdraw(session: Session, { id, label }: OwnCredential, onDone: () => void): void {
  openQuestion(
    session,
    {
      title: `Withdraw the new password “${label}”?`,
      text: 'The new password stops working now. This cannot be undone. The old ones go on as if nothing had happened.',
      proof: 'A password of this account that works',
      verb: 'Withdraw',
      act: (password) => api.withdraw(session, id, password),
    },
    onDone,
  );
}

/** Ends one of the partner's passwords. Whoever ends it has to have it. */
export function openEnd(session: Session, { id, label, fingerprint }: OwnCredential, onDone: () => void): void {
  openQuestion(
    session,
    {
      title: `End “${label}”?`,
      text: 'The password and all tokens obtained with it stop working now. This cannot be undone. Your other passwords keep working.',
      proof: `The password “${label}”${fingerprint === null ? '' : `, fingerprint ${fingerprint}`}`,
      verb: 'End this password',
      act: (password) => api.endCredential(session, id, password),
    },
    onDone,
  );
}
