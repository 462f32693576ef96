import CheckIcon from '@mui/icons-material/Check';
import ContentCopyIcon from '@mui/icons-material/ContentCopy';
import Visibility from '@mui/icons-material/Visibility';
import VisibilityOff from '@mui/icons-material/VisibilityOff';
import Alert from '@mui/material/Alert';
import Button from '@mui/material/Button';
import Dialog from '@mui/material/Dialog';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import DialogTitle from '@mui/material/DialogTitle';
import IconButton from '@mui/material/IconButton';
import InputAdornment from '@mui/material/InputAdornment';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Tooltip from '@mui/material/Tooltip';
import { type ReactNode, type SyntheticEvent, useId, useState, useSyncExternalStore } from 'react';
import { hintOf, localTime, relativeTo } from '../../src/partner-page/words/time.ts';
import { ApiError, sentenceOf } from './api.ts';
import { FormDialog, TYPED, useUnsaved } from './leave-guard.tsx';

const NOW_MS = 30_000;
let now = Date.now();
const clockWatchers = new Set<() => void>();
let clock: ReturnType<typeof setInterval> | undefined;

/** Shares one timer among all relative times of a page, and stops it when there are none. */
function watchClock(watcher: () => void): () => void {
  clockWatchers.add(watcher);
  clock ??= setInterval(() => {
    now = Date.now();
    for (const each of clockWatchers) each();
  }, NOW_MS);
  return () => {
    clockWatchers.delete(watcher);
    if (clockWatchers.size > 0) return;
    clearInterval(clock);
    clock = undefined;
  };
}
const readClock = (): number => {
  // The clock did not run while nobody watched it.
  if (clock === undefined && Date.now() - now > NOW_MS) now = Date.now();
  return now;
};

/** A text such as `3 hours ago`, updated while it is shown. */
function Relative({ date }: { date: Date }): ReactNode {
  const turnedAt = useSyncExternalStore(watchClock, readClock);
  // A time after the clock's last update must not be shown as in the future.
  return relativeTo(Math.max(turnedAt, Math.min(Date.now(), turnedAt + NOW_MS)), date);
}

/**
 * A time in the viewer's zone, with UTC on hover and focus, and for screen readers.
 *
 * @param value ISO 8601; `null` shows a dash
 * @param relative shows a text such as `3 hours ago`
 * @param seconds shows seconds, for comparison with logs
 * @param clock shows the time of day alone, below a date
 */
export function Time({
  value,
  relative = false,
  seconds = false,
  clock = false,
}: {
  value: string | null | undefined;
  relative?: boolean;
  seconds?: boolean;
  clock?: boolean;
}): ReactNode {
  const [anchor, setAnchor] = useState<HTMLElement>();
  const tipId = useId();
  if (value === null || value === undefined || value === '') return <span aria-label="none">–</span>;
  const date = new Date(value);
  const show = (event: SyntheticEvent<HTMLElement>): void => {
    setAnchor(event.currentTarget);
  };
  const hide = (): void => {
    setAnchor(undefined);
  };
  // Creates the tooltip only when it is shown, since a list has many times.
  return (
    <>
      <time
        dateTime={date.toISOString()}
        tabIndex={0}
        style={{ whiteSpace: 'nowrap' }}
        aria-describedby={anchor && tipId}
        onMouseEnter={show}
        onMouseLeave={hide}
        onFocus={show}
        onBlur={hide}
      >
        {relative ? <Relative date={date} /> : localTime(date, clock ? 'clock' : seconds ? 'second' : 'minute')}
      </time>
      {anchor && (
        <Tooltip
          open
          onClose={hide}
          title={hintOf(date, relative ? 'relative' : 'minute')}
          slotProps={{ popper: { anchorEl: anchor, id: tipId } }}
        >
          <span hidden />
        </Tooltip>
      )}
    </>
  );
}

/** @returns `contactEmail` as `Contact e-mail` */
const nameOf = (field: string): string =>
  field
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .replace(/\bemail\b/, 'e-mail')
    .replace(/^./, (first) => first.toUpperCase());

/** The API's detail for any invalid input. The messages of the fields are more precise. */
const GENERAL = 'The request is not valid.';

/** @returns any error as complete sentences, for a notification or an alert */
export function messageOf(error: unknown): string {
  if (!(error instanceof ApiError)) return 'Something went wrong on this page. Reload it and try again.';
  const fields = error.errors.map(({ field, messages }) => {
    const text = messages.join('; ');
    return field === '' ? sentenceOf([text]) : `${nameOf(field)}: ${sentenceOf([text]).replace(/^./, lowerCase)}`;
  });
  const isGeneral = fields.length > 0 && error.detail === GENERAL;
  return [...(isGeneral ? [] : [sentenceOf([error.detail])]), ...fields].join(' ');
}

const lowerCase = (text: string): string => text.toLowerCase();

/** @returns the error as a sentence, without the messages of fields, which the form shows itself */
export const summaryOf = (error: unknown): string =>
  error instanceof ApiError ? sentenceOf([error.detail]) : messageOf(error);

/**
 * Explains why a form was refused. Names the fields with errors, since each field shows its own message.
 *
 * @param names visible names of the fields that show their errors
 */
export function refusalOf(error: unknown, names: Readonly<Record<string, string>>): string {
  const wrong = Object.keys(fieldErrors(error));
  const kept = 'Your input is kept.';
  return wrong.length > 0 && wrong.every((field) => field in names)
    ? `Not saved. Please correct: ${wrong.map((field) => names[field]).join(', ')}. ${kept}`
    : `${messageOf(error)} ${kept}`;
}

/** @returns the API's messages by name of the input, in the form that react-admin expects from `onSubmit` */
export function fieldErrors(error: unknown): Record<string, string> {
  return error instanceof ApiError ? error.body.errors : {};
}

/** Like {@link fieldErrors}, but never empty, so that react-admin always treats the form as unsaved. */
export function submissionErrors(error: unknown): Record<string, unknown> {
  const fields = fieldErrors(error);
  return Object.keys(fields).length > 0 ? fields : { root: { serverError: messageOf(error) } };
}

interface ConfirmDialogProps {
  open: boolean;
  /** The question, as in `Suspend Acme Channel?` */
  title: ReactNode;
  /** What will happen. */
  children: ReactNode;
  /** A verb, as in `Suspend`. */
  confirmLabel: string;
  /** `true`: a reason is required; `optional`: it may be given. The audit trail keeps the reason. */
  requireReason?: boolean | 'optional';
  /** A text that has to be typed before the button works. */
  typed?: string;
  danger?: boolean;
  /** Does the work. The dialog closes when it resolves, and shows the error and keeps the input when it rejects. */
  onConfirm: (input: { reason?: string }) => Promise<unknown>;
  onClose: () => void;
}

/** Explains what will happen and asks for confirmation. */
export function ConfirmDialog(props: ConfirmDialogProps): ReactNode {
  const [busy, setBusy] = useState(false);
  return (
    <FormDialog open={props.open} title={props.title} busy={busy} onClose={props.onClose}>
      <ConfirmForm {...props} busy={busy} setBusy={setBusy} />
    </FormDialog>
  );
}

/** The dialog's form. Mounted only while the dialog is open, so that it starts empty each time. */
function ConfirmForm({
  children,
  confirmLabel,
  requireReason = false,
  typed,
  danger = false,
  onConfirm,
  onClose,
  busy,
  setBusy,
}: ConfirmDialogProps & { busy: boolean; setBusy: (busy: boolean) => void }): ReactNode {
  const [reason, setReason] = useState('');
  const [repeated, setRepeated] = useState('');
  const [error, setError] = useState<unknown>();
  const release = useUnsaved(reason.trim() !== '' || repeated.trim() !== '', 'input', TYPED);
  const ready =
    !busy && (requireReason !== true || reason.trim() !== '') && (typed === undefined || repeated.trim() === typed);
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    event.stopPropagation();
    if (!ready) return;
    setBusy(true);
    setError(undefined);
    onConfirm(reason.trim() === '' ? {} : { reason: reason.trim() })
      .then(() => {
        release();
        onClose();
      }, setError)
      .finally(() => {
        setBusy(false);
      });
  };
  return (
    <form onSubmit={submit} noValidate>
      <DialogContent sx={{ pt: 0 }}>
        <Stack spacing={2}>
          <div>{children}</div>
          {requireReason !== false && (
            <TextField
              label={requireReason === true ? 'Reason' : 'Reason (optional)'}
              value={reason}
              onChange={(event) => {
                setReason(event.target.value);
              }}
              required={requireReason === true}
              helperText={fieldErrors(error)['reason'] ?? 'Recorded in the audit trail.'}
              error={fieldErrors(error)['reason'] !== undefined}
              slotProps={{ htmlInput: { maxLength: 500 } }}
              autoFocus
              fullWidth
              multiline
              maxRows={4}
            />
          )}
          {typed !== undefined && (
            <TextField
              label={`Type “${typed}” to confirm`}
              value={repeated}
              onChange={(event) => {
                setRepeated(event.target.value);
              }}
              autoFocus={requireReason === false}
              autoComplete="off"
              fullWidth
            />
          )}
          {error !== undefined && <Alert severity="error">{messageOf(error)}</Alert>}
        </Stack>
      </DialogContent>
      <DialogActions>
        <Button onClick={onClose} disabled={busy}>
          Cancel
        </Button>
        <Button
          type="submit"
          variant="contained"
          color={danger ? 'error' : 'primary'}
          disabled={!ready}
          loading={busy}
          autoFocus={requireReason === false && typed === undefined && !danger}
        >
          {confirmLabel}
        </Button>
      </DialogActions>
    </form>
  );
}

/**
 * Copies a text. Without https or localhost browsers have no clipboard API, so a hidden field is selected and copied
 * instead. The field is next to the button, since a dialog takes the focus back from elements outside of it.
 */
async function copyText(text: string, button: HTMLElement): Promise<boolean> {
  if (window.isSecureContext) {
    const isWritten = await navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
    if (isWritten) return true;
  }
  const field = document.createElement('textarea');
  field.value = text;
  field.setAttribute('aria-hidden', 'true');
  field.className = 'copied';
  button.after(field);
  field.select();
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- there is no other way without https
  const isCopied = document.execCommand('copy');
  field.remove();
  button.focus();
  return isCopied;
}

/**
 * A value with a copy button.
 *
 * @param secret hides the value until the eye is pressed; copying also works while it is hidden
 */
export function CopyField({
  label,
  value,
  secret = false,
  multiline = false,
}: {
  label: string;
  value: string;
  secret?: boolean;
  multiline?: boolean;
}): ReactNode {
  const [visible, setVisible] = useState(!secret);
  const [copied, setCopied] = useState(false);
  const [isRefused, setRefused] = useState(false);
  const copy = async (button: HTMLElement): Promise<void> => {
    const isCopied = await copyText(value, button);
    setCopied(isCopied);
    setRefused(!isCopied);
    // Shows a value that could not be copied, so that it can be selected.
    if (!isCopied) setVisible(true);
    setTimeout(() => {
      setCopied(false);
    }, 2_000);
  };
  const what = label.toLowerCase();
  return (
    <TextField
      label={label}
      value={value}
      type={visible ? 'text' : 'password'}
      multiline={multiline}
      fullWidth
      helperText={
        isRefused ? 'The browser could not copy the text. Select it and copy it with the keyboard.' : undefined
      }
      onFocus={(event) => {
        event.target.select();
      }}
      slotProps={{
        htmlInput: { readOnly: true, spellCheck: false, autoComplete: 'off', style: { fontFamily: 'monospace' } },
        input: {
          endAdornment: (
            <InputAdornment position="end">
              {secret && (
                <IconButton
                  aria-label={visible ? `Hide ${what}` : `Show ${what}`}
                  onClick={() => {
                    setVisible(!visible);
                  }}
                >
                  {visible ? <VisibilityOff /> : <Visibility />}
                </IconButton>
              )}
              <Tooltip title={copied ? 'Copied' : 'Copy'}>
                <IconButton aria-label={`Copy ${what}`} edge="end" onClick={(event) => void copy(event.currentTarget)}>
                  {copied ? <CheckIcon color="success" /> : <ContentCopyIcon />}
                </IconButton>
              </Tooltip>
              <span role="status" style={{ position: 'absolute', width: 1, height: 1, overflow: 'hidden' }}>
                {copied ? `${label} copied` : ''}
              </span>
            </InputAdornment>
          ),
        },
      }}
    />
  );
}

/**
 * A dialog with a secret that is shown once. A stray click does not close it, and leaving the page asks first. The
 * caller must keep the secret only in its state, and drop it on `onClose`.
 *
 * @param what the subject of the question, as in `The password`
 * @param children the fields, made of CopyField
 */
export function SecretOnce({
  open,
  title,
  what = 'This text',
  children,
  onClose,
  doneLabel = 'I have saved it',
}: {
  open: boolean;
  title: ReactNode;
  what?: string;
  children: ReactNode;
  onClose: () => void;
  doneLabel?: string;
}): ReactNode {
  const titleId = useId();
  const release = useUnsaved(open, 'secret', what);
  return (
    <Dialog open={open} aria-labelledby={titleId} fullWidth maxWidth="sm">
      <DialogTitle id={titleId}>{title}</DialogTitle>
      <DialogContent>
        <Stack spacing={2}>
          <Alert severity="warning">This is shown only once. Nobody can read it again, not even an admin.</Alert>
          {children}
        </Stack>
      </DialogContent>
      <DialogActions>
        <Button
          variant="contained"
          onClick={() => {
            // Releases the guard now, since the caller may navigate before the next rendering.
            release();
            onClose();
          }}
        >
          {doneLabel}
        </Button>
      </DialogActions>
    </Dialog>
  );
}
