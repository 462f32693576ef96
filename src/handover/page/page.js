// The link's secret stands in the fragment: it reaches the server only when somebody presses Reveal.

const SECRET = /^#[A-Za-z0-9_-]{43}$/;
const SECTIONS = ['waiting', 'revealed', 'gone', 'incomplete'];

const byId = (id) => document.getElementById(id);

/** Shows one section, and says so to those who do not see it by putting the focus on its heading. */
function show(name, { focus = true } = {}) {
  for (const section of SECTIONS) byId(section).hidden = section !== name;
  const heading = byId(name).querySelector('h1');
  document.title = heading.textContent;
  if (focus) heading.focus();
}

const say = (text) => {
  byId('status').textContent = text;
};

/** For every shell, cmd.exe included: double quotes, and what is special in them escaped. */
const quoted = (text) => `"${text.replace(/[\\"$`]/g, '\\$&')}"`;

let isUnsaved = false;

/** Whoever has copied nothing yet is asked before the page goes. */
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

/** What to tell when there is no password in the answer, and pressing Reveal again may help. */
const problemOf = (isAnswered) =>
  isAnswered
    ? 'That did not work, through no fault of yours. Try again in a moment.'
    : 'No answer came. Check your connection and try again. If the link then does not work any more, ask your contact for a new one.';

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
      body: JSON.stringify({ secret: location.hash.slice(1) }),
      cache: 'no-store',
      credentials: 'omit',
    }).catch(() => undefined);
    const body = response?.status === 200 ? await response.json().catch(() => undefined) : undefined;
    if (body !== undefined) {
      // Of no use any more: not in the address bar, not in the history.
      history.replaceState(null, '', location.pathname);
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

/** Without https there is no clipboard interface: then what is selected is copied as by the keyboard. */
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
  // The same text twice would not be read out.
  say('');
  setTimeout(() => say(isCopied ? `${name} copied.` : `${name} selected. Copy it by the keyboard.`));
}

byId('reveal').addEventListener('click', reveal);
for (const button of document.querySelectorAll('[data-copy]')) button.addEventListener('click', () => copy(button));
// Another link pasted into the same tab loads nothing by itself.
addEventListener('hashchange', () => location.reload());

show(SECRET.test(location.hash) ? 'waiting' : 'incomplete', { focus: false });
