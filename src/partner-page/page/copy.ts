import { announce, button } from './dom.ts';

const DONE_MS = 2_000;

function select(element: Element): void {
  const selection = getSelection();
  selection?.removeAllRanges();
  selection?.selectAllChildren(element);
}

/** Copies the text of an element. Without https browsers have no clipboard API, so the selected text is copied. */
async function copyText(source: Element): Promise<boolean> {
  if (isSecureContext) {
    const isWritten = await navigator.clipboard.writeText(source.textContent).then(
      () => true,
      () => false,
    );
    if (isWritten) return true;
  }
  select(source);
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- there is no other way without https
  return document.execCommand('copy');
}

/** @param name of the text, such as `Password` @param onCopied called once the text is in the clipboard */
export function copyButton(source: Element, name: string, onCopied: () => void = () => undefined): HTMLButtonElement {
  const label = document.createTextNode('Copy');
  const copy = async (): Promise<void> => {
    const isCopied = await copyText(source);
    if (isCopied) onCopied();
    label.data = isCopied ? 'Copied' : 'Selected';
    announce(isCopied ? `${name} copied.` : `${name} selected. Copy it with the keyboard.`);
    setTimeout(() => {
      label.data = 'Copy';
    }, DONE_MS);
  };
  const unseen = document.createElement('span');
  unseen.className = 'unseen';
  unseen.textContent = ` ${name.toLowerCase()}`;
  return button([label, unseen], () => void copy());
}
