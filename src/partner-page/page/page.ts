import { openAccount } from './account.ts';
import { byId, focusOn } from './dom.ts';
import { onSubmit } from './form.ts';
import { openLeaked } from './leaked.ts';
import { Session } from './session.ts';
import { signInAgain } from './sign-in.ts';
import { keepTimes } from './text.ts';
import { requestToken } from './token.ts';

const TITLE = 'Your account';

const entrance = byId('sign-in', HTMLElement);
const form = byId('sign-in-form', HTMLFormElement);
const username = byId('username', HTMLInputElement);
const password = byId('password', HTMLInputElement);
const place = byId('account', HTMLElement);

let session: Session | undefined;
/** Ends dialogs that are open without a session. */
let visit = new AbortController();

/** Forgets the token and everything that was shown or typed. */
function wipe(): void {
  session?.end();
  session = undefined;
  visit.abort();
  visit = new AbortController();
  place.replaceChildren();
  place.hidden = true;
  form.reset();
  byId('problem', HTMLElement).textContent = '';
  document.querySelector('.announcement')?.remove();
  document.title = TITLE;
  entrance.hidden = false;
}

function signOut(): void {
  wipe();
  focusOn(byId('heading', HTMLElement));
}

onSubmit(form, byId('submit', HTMLButtonElement), byId('problem', HTMLElement), async () => {
  const { signal } = visit;
  const granted = await requestToken(username.value, password.value, signal);
  if (signal.aborted) return;
  session = new Session(username.value, granted, (each) => signInAgain(each, signOut));
  form.reset();
  entrance.hidden = true;
  place.hidden = false;
  place.append(openAccount(session, signOut));
});
byId('leaked', HTMLButtonElement).addEventListener('click', () => {
  openLeaked(visit.signal);
});

// A page that is left is signed out: "back" shows nothing of it to the next person at this computer.
addEventListener('pagehide', wipe);
keepTimes();
// Some browsers fill in what was typed before a reload.
form.reset();
entrance.hidden = false;
