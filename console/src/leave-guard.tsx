import Button from '@mui/material/Button';
import Dialog from '@mui/material/Dialog';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import DialogTitle from '@mui/material/DialogTitle';
import {
  createContext,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useId,
  useLayoutEffect,
  useRef,
  useState,
} from 'react';
import { useFormState } from 'react-hook-form';
import { useBlocker } from 'react-router-dom';

/** A secret or input that is lost when its part of the page is removed. */
interface Unsaved {
  /** `secret`: shown once, and nobody can show it again. `input`: typed and not sent. */
  readonly kind: 'secret' | 'input';
  /** The subject of a sentence, as in `The password`. */
  readonly what: string;
  /** The dialog that it belongs to. */
  readonly dialog: string;
}

const held = new Map<string, Unsaved>();

const askBeforeUnload = (event: BeforeUnloadEvent): void => {
  event.preventDefault();
};

/** Adds the listener only while it is needed, since browsers do not cache a page with it for the back button. */
function updateListener(): void {
  if (held.size > 0) window.addEventListener('beforeunload', askBeforeUnload);
  else window.removeEventListener('beforeunload', askBeforeUnload);
}

/** @returns whether leaving the page now would lose something */
export const hasUnsaved = (): boolean => held.size > 0;

/** Releases everything, after the person has chosen to discard it. */
export function discardUnsaved(): void {
  held.clear();
  updateListener();
}

const DialogScope = createContext('');

/**
 * Asks before the page is left in any way, while `active`.
 *
 * @returns a function that releases the guard at once, for code that navigates before the next rendering
 */
export function useUnsaved(active: boolean, kind: Unsaved['kind'], what: string): () => void {
  const id = useId();
  const dialog = useContext(DialogScope);
  const release = useCallback(() => {
    held.delete(id);
    updateListener();
  }, [id]);
  useLayoutEffect(() => {
    if (!active) return;
    held.set(id, { kind, what, dialog });
    updateListener();
    return release;
  }, [active, kind, what, dialog, id, release]);
  return release;
}

/** Guards the input of a react-admin form, and focuses the first field that was refused. */
export function FormGuard(): ReactNode {
  const place = useRef<HTMLSpanElement>(null);
  const { dirtyFields, isSubmitSuccessful, isSubmitting, submitCount, errors } = useFormState();
  useUnsaved(Object.keys(dirtyFields).length > 0 && !isSubmitSuccessful, 'input', TYPED);
  const isRefused = Object.keys(errors).length > 0;
  useEffect(() => {
    if (submitCount > 0 && !isSubmitting && isRefused) focusFirstInvalid(place.current?.closest('form') ?? null);
  }, [submitCount, isSubmitting, isRefused]);
  return <span ref={place} hidden />;
}

/** The subject of the question when a form would be lost. */
export const TYPED = 'Your input';

/** Focuses the first field that is marked as invalid. */
export function focusFirstInvalid(form: Element | null): void {
  form?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
}

interface Question {
  readonly unsaved: Unsaved;
  readonly answer: (discard: boolean) => void;
}

let askInPage: ((question: Question) => void) | undefined;

/** The item that the question names. A secret comes first, since losing it is worse. */
function worstOf(dialog?: string): Unsaved | undefined {
  const all = [...held.values()].filter((unsaved) => dialog === undefined || unsaved.dialog === dialog);
  return all.find(({ kind }) => kind === 'secret') ?? all[0];
}

/**
 * Asks before an action other than navigation, such as signing out or closing a dialog.
 *
 * @param dialog restricts the question to unsaved items of this dialog
 * @returns whether to go on; true without a question when nothing would be lost
 */
export function mayDiscard(dialog?: string): Promise<boolean> {
  const unsaved = worstOf(dialog);
  if (unsaved === undefined || askInPage === undefined) return Promise.resolve(true);
  const ask = askInPage;
  return new Promise((answer) => {
    ask({ unsaved, answer });
  });
}

function StayOrDiscard({ unsaved, onAnswer }: { unsaved: Unsaved; onAnswer: (discard: boolean) => void }): ReactNode {
  const titleId = useId();
  const isSecret = unsaved.kind === 'secret';
  return (
    <Dialog
      open
      role="alertdialog"
      aria-labelledby={titleId}
      onClose={() => {
        onAnswer(false);
      }}
      fullWidth
      maxWidth="xs"
    >
      <DialogTitle id={titleId}>{isSecret ? 'Leave without it?' : 'Discard your input?'}</DialogTitle>
      <DialogContent>
        {isSecret
          ? `${unsaved.what} cannot be shown again. If you have not saved it, stay on this page.`
          : `${unsaved.what} has not been saved.`}
      </DialogContent>
      <DialogActions>
        <Button
          onClick={() => {
            onAnswer(true);
          }}
          color="error"
        >
          Discard
        </Button>
        <Button
          variant="contained"
          autoFocus
          onClick={() => {
            onAnswer(false);
          }}
        >
          Stay
        </Button>
      </DialogActions>
    </Dialog>
  );
}

/** The router's only blocker (it allows no second one), and the dialog with the question. */
export function LeaveGuard(): ReactNode {
  const [question, setQuestion] = useState<Question>();
  const blocker = useBlocker(
    ({ currentLocation: from, nextLocation: to }) =>
      held.size > 0 && (from.pathname !== to.pathname || from.search !== to.search),
  );
  useEffect(() => {
    askInPage = setQuestion;
    return () => {
      askInPage = undefined;
    };
  }, []);
  const unsaved = blocker.state === 'blocked' ? worstOf() : undefined;
  if (question) {
    return (
      <StayOrDiscard
        unsaved={question.unsaved}
        onAnswer={(discard) => {
          setQuestion(undefined);
          question.answer(discard);
        }}
      />
    );
  }
  if (!unsaved || blocker.state !== 'blocked') return null;
  return (
    <StayOrDiscard
      unsaved={unsaved}
      onAnswer={(discard) => {
        if (discard) {
          discardUnsaved();
          blocker.proceed();
        } else {
          blocker.reset();
        }
      }}
    />
  );
}

interface FormDialogProps {
  readonly open: boolean;
  readonly title: ReactNode;
  readonly maxWidth?: 'xs' | 'sm';
  /** Keeps the dialog from being closed. */
  readonly busy?: boolean;
  readonly onClose: () => void;
  readonly children: ReactNode;
}

/** A dialog with a form. A stray click or Escape asks before it drops the input; *Cancel* does not. */
export function FormDialog({
  open,
  title,
  maxWidth = 'sm',
  busy = false,
  onClose,
  children,
}: FormDialogProps): ReactNode {
  const id = useId();
  const close = async (): Promise<void> => {
    if (!busy && (await mayDiscard(id))) onClose();
  };
  return (
    <DialogScope value={id}>
      <Dialog open={open} onClose={() => void close()} aria-labelledby={id} fullWidth maxWidth={maxWidth}>
        <DialogTitle id={id}>{title}</DialogTitle>
        {children}
      </Dialog>
    </DialogScope>
  );
}
