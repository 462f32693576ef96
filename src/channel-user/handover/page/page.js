// The link's secret is in the fragment. It reaches the server only when someone presses Reveal.

// Mail programs may include the punctuation after a link in the link.
const SECRET = /^#([A-Za-z0-9_-]{43})[^A-Za-z0-9_-]*$/;
const SECTIONS = ['waiting', 'revealed', 'before', 'gone', 'incomplete'];

const secretOf = (hash) => SECRET.exec(hash)?.[1];

const byId = (id) => document.getElementById(id);

/** Shows one section, and focuses its heading so that screen readers announce it. */
function show(name, { focus = true } = {}) {
  for (const section of SECTIONS) byId(section).hidden = section !== name;
  const heading = byId(name).querySelector('h1');
  document.title = heading.textContent;
  if (focus) heading.focus();
}

const say = (text) => {
  byId('status').textContent = text;
};

/** Quotes a text for any shell, including cmd.exe: in double quotes, with special characters escaped. */
const quoted = (text) => `"${text.replace(/[\\"$`]/g, '\\$&')}"`;

let isUnsaved = false;

/** Asks before the page is left while nothing has been copied. */
addEventListener('beforeunload', (event) => {
  if (isUnsaved) event.preventDefault();
});

function present({ username, password, displayName, tokenEndpoint, fingerprint }) {
  byId('display-name').textContent = displayName;
  byId('username').textContent = username;
  byId('password').textContent = password;
  byId('command').textContent =
    `curl -d ${quoted(`Username=${username}`)} -d ${quoted(`Password=${password}`)} ${quoted(tokenEndpoint)}`;
  byId('fingerprint').textContent = fingerprint ?? '';
  byId('fingerprint-part').hidden = fingerprint === null;
  isUnsaved = true;
  show('revealed');
}

/** The message when the answer has no password, but pressing Reveal again may help. */
const problemOf = (isAnswered) =>
  isAnswered
    ? 'Something went wrong on our side. Try again in a moment.'
    : 'There was no response. Check your connection and try again. If the link no longer works then, ask your contact for a new one.';

let isRevealing = false;

async function reveal() {
  if (isRevealing) return;
  isRevealing = true;
  const button = byId('reveal');
  button.setAttribute('aria-disabled', 'true');
  button.textContent = 'Revealing…';
  byId('problem').textContent = '';
  try {
    const response = await fetch('handover/reveal', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secret: secretOf(location.hash) }),
      cache: 'no-store',
      credentials: 'omit',
    }).catch(() => undefined);
    const body = response?.status === 200 ? await response.json().catch(() => undefined) : undefined;
    if (body !== undefined) {
      // Removes the used secret from the address bar and the history. The state that stays tells a reload of this tab
      // that the password was revealed here.
      history.replaceState({ revealed: true }, '', location.pathname);
      present(body);
      // A link that works is never refused for too many attempts.
    } else if (response?.status === 410 || response?.status === 429) show('gone');
    else if (response?.status === 400) show('incomplete');
    else byId('problem').textContent = problemOf(response !== undefined && response.status !== 200);
  } finally {
    isRevealing = false;
    button.removeAttribute('aria-disabled');
    button.textContent = 'Reveal';
  }
}

function select(element) {
  const selection = getSelection();
  selection.removeAllRanges();
  selection.selectAllChildren(element);
}

/** Copies a field. Without https browsers have no clipboard API, so the selected text is copied instead. */
async function copy(button) {
  const source = byId(button.dataset.copy);
  const name = button.dataset.name;
  let isCopied = await Promise.resolve(navigator.clipboard?.writeText(source.textContent)).then(
    () => navigator.clipboard !== undefined,
    () => false,
  );
  if (!isCopied) {
    select(source);
    isCopied = document.execCommand('copy');
  }
  if (isCopied && name !== 'Username') isUnsaved = false;
  for (const each of document.querySelectorAll('[data-copy]')) each.firstChild.data = 'Copy';
  button.firstChild.data = isCopied ? 'Copied' : 'Selected';
  // Clears the text first, since screen readers do not announce an unchanged text.
  say('');
  setTimeout(() => say(isCopied ? `${name} copied.` : `${name} selected. Copy it with the keyboard.`));
}

byId('reveal').addEventListener('click', reveal);
for (const button of document.querySelectorAll('[data-copy]')) button.addEventListener('click', () => copy(button));
// A changed fragment alone does not reload the page, as when another link is pasted into the same tab.
addEventListener('hashchange', () => location.reload());

function showFirst() {
  if (secretOf(location.hash) !== undefined) show('waiting', { focus: false });
  else show(history.state?.revealed === true ? 'before' : 'incomplete', { focus: false });
}
showFirst();
