import { h, newId } from './dom.ts';

interface DialogOptions {
  readonly title: string;
  /** `false`: neither Escape nor a gesture closes it. */
  readonly mayCancel?: boolean;
  readonly class?: string;
  /** Closes the dialog when the person signs out. */
  readonly ended: AbortSignal;
}

/**
 * Opens a dialog above everything else. The browser keeps the focus in it, and returns the focus when it closes.
 *
 * @param build makes the content; `close` removes the dialog
 */
export function openDialog(options: DialogOptions, build: (close: () => void) => readonly Node[]): HTMLDialogElement {
  const id = newId();
  const dialog = h('dialog', { 'aria-labelledby': id, class: options.class });
  const close = (): void => {
    dialog.close();
    dialog.remove();
  };
  dialog.append(h('h2', { id }, options.title), ...build(close));
  dialog.addEventListener('cancel', (event) => {
    event.preventDefault();
    if (options.mayCancel !== false) close();
  });
  // Browsers let a second Escape close any dialog.
  dialog.addEventListener('close', () => {
    if (options.mayCancel === false && dialog.isConnected && !options.ended.aborted) dialog.showModal();
    else dialog.remove();
  });
  options.ended.addEventListener('abort', close, { once: true });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
