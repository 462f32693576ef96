// The link's secret is in the fragment. It reaches the server only together with the new password.

// Mail programs may include the punctuation after a link in the link.
const SECRET = /^#([A-Za-z0-9_-]{43})[^A-Za-z0-9_-]*$/;
const SECTIONS = ['waiting', 'done', 'gone', 'incomplete'];
const MIN_LENGTH = 12;

const byId = (id) => document.getElementById(id);

/** Shows one section, and focuses its heading so that screen readers announce it. */
function show(name, { focus = true } = {}) {
  for (const section of SECTIONS) byId(section).hidden = section !== name;
  const heading = byId(name).querySelector('h1');
  document.title = heading.textContent;
  if (focus) heading.focus();
}

/** Shows a problem with a field; without `text`, clears it. */
function setProblem(name, text = '') {
  byId(`${name}-problem`).textContent = text;
  byId(name).setAttribute('aria-invalid', String(text !== ''));
}

/** Checks the fields before sending, and focuses the first one that is wrong. */
function check() {
  const password = byId('password').value;
  setProblem('password', [...password].length < MIN_LENGTH ? `Use at least ${MIN_LENGTH} characters.` : '');
  setProblem('repeated', password === byId('repeated').value ? '' : 'The passwords differ.');
  const wrong = ['password', 'repeated'].find((name) => byId(`${name}-problem`).textContent !== '');
  if (wrong !== undefined) byId(wrong).focus();
  return wrong === undefined;
}

/** The message when the password was not set, but another attempt may succeed. */
const problemOf = (status) =>
  status === 429
    ? 'There were too many attempts. Try again in a minute.'
    : status !== undefined && status !== 200
      ? 'Something went wrong on our side. Try again in a moment.'
      : 'There was no response. Check your connection and try again. If the link no longer works then, the password has been set: sign in.';

/** Shows the server's reason for refusing the request. */
async function showRefusal(response) {
  const { errors = [] } = await response.json().catch(() => ({}));
  const ofPassword = errors.find(({ field }) => field === 'newPassword');
  if (ofPassword === undefined) return show('incomplete');
  setProblem('password', `The password ${ofPassword.messages.join(', ')}.`);
  byId('password').focus();
}

function showDone({ email }, options) {
  byId('email').textContent = email;
  show('done', options);
}

let isSaving = false;

async function save() {
  if (isSaving || !check()) return;
  isSaving = true;
  const button = byId('save');
  button.setAttribute('aria-disabled', 'true');
  byId('problem').textContent = '';
  try {
    const response = await fetch('../admin/password-link/use', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secret: SECRET.exec(location.hash)?.[1], newPassword: byId('password').value }),
      cache: 'no-store',
      credentials: 'omit',
    }).catch(() => undefined);
    const body = response?.status === 200 ? await response.json().catch(() => undefined) : undefined;
    if (body !== undefined) {
      // Removes the used secret from the address bar and the history. The state that stays tells a reload of this tab
      // that the password was set here.
      history.replaceState({ email: body.email }, '', location.pathname);
      byId('form').reset();
      showDone(body);
    } else if (response?.status === 410) show('gone');
    else if (response?.status === 400) await showRefusal(response);
    else byId('problem').textContent = problemOf(response?.status);
  } finally {
    isSaving = false;
    button.removeAttribute('aria-disabled');
  }
}

function toggle() {
  const isShown = byId('password').type === 'text';
  for (const name of ['password', 'repeated']) byId(name).type = isShown ? 'password' : 'text';
  byId('show').textContent = isShown ? 'Show' : 'Hide';
  byId('show').setAttribute('aria-pressed', String(!isShown));
}

byId('form').addEventListener('submit', (event) => {
  event.preventDefault();
  void save();
});
byId('show').addEventListener('click', toggle);
for (const name of ['password', 'repeated']) byId(name).addEventListener('input', () => setProblem(name));
// Asks before the page is left with a typed password.
addEventListener('beforeunload', (event) => {
  if (!byId('waiting').hidden && byId('password').value !== '') event.preventDefault();
});
// A changed fragment alone does not reload the page, as when another link is pasted into the same tab.
addEventListener('hashchange', () => location.reload());

if (SECRET.test(location.hash)) show('waiting', { focus: false });
else if (history.state?.email !== undefined) showDone(history.state, { focus: false });
else show('incomplete', { focus: false });
