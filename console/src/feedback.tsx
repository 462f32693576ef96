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
import { ApiError } from './api.ts';

const UNITS: [unit: Intl.RelativeTimeFormatUnit, seconds: number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
];
const LOCALE = 'en-GB';
const relativeFormat = new Intl.RelativeTimeFormat(LOCALE, { numeric: 'auto' });
const localFormat = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'medium', timeStyle: 'short' });

/** @returns as in `3 hours ago` or `in 2 days` */
function relativeTo(now: number, date: Date): string {
  const seconds = Math.round((date.getTime() - now) / 1000);
  const [unit, size] = UNITS.find(([, each]) => Math.abs(seconds) >= each) ?? ['second', 1];
  return relativeFormat.format(Math.trunc(seconds / size), unit);
}

const NOW_MS = 30_000;
let now = Date.now();
const clockWatchers = new Set<() => void>();
let clock: ReturnType<typeof setInterval> | undefined;

/** One timer for all moments of a page, for as long as there are any. */
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
  // Nobody watched meanwhile.
  if (clock === undefined && Date.now() - now > NOW_MS) now = Date.now();
  return now;
};

/** As in `3 hours ago`, and right for as long as it is shown. */
function Relative({ date }: { date: Date }): ReactNode {
  const turnedAt = useSyncExternalStore(watchClock, readClock);
  // What is newer than the clock's last turn is not in the future.
  return relativeTo(Math.max(turnedAt, Math.min(Date.now(), turnedAt + NOW_MS)), date);
}

/**
 * A moment in the viewer's zone; UTC on hover and focus, and for a screen reader.
 *
 * @param value ISO 8601; `null` shows a dash
 * @param relative as in `3 hours ago`
 */
export function Time({ value, relative = false }: { value: string | null | undefined; relative?: boolean }): ReactNode {
  const [anchor, setAnchor] = useState<HTMLElement>();
  const tipId = useId();
  if (value === null || value === undefined || value === '') return <span aria-label="none">–</span>;
  const date = new Date(value);
  const iso = date.toISOString();
  const utc = `${iso.slice(0, 19).replace('T', ' ')} UTC`;
  const show = (event: SyntheticEvent<HTMLElement>): void => {
    setAnchor(event.currentTarget);
  };
  const hide = (): void => {
    setAnchor(undefined);
  };
  // A list has many moments and shows the UTC of one: its tooltip is made then.
  return (
    <>
      <time
        dateTime={iso}
        tabIndex={0}
        style={{ whiteSpace: 'nowrap' }}
        aria-describedby={anchor && tipId}
        onMouseEnter={show}
        onMouseLeave={hide}
        onFocus={show}
        onBlur={hide}
      >
        {relative ? <Relative date={date} /> : localFormat.format(date)}
      </time>
      {anchor && (
        <Tooltip
          open
          onClose={hide}
          title={relative ? `${localFormat.format(date)} · ${utc}` : utc}
          slotProps={{ popper: { anchorEl: anchor, id: tipId } }}
        >
          <span hidden />
        </Tooltip>
      )}
    </>
  );
}

/** @returns the words of any error, for a notification or an alert */
export function messageOf(error: unknown): string {
  if (!(error instanceof ApiError)) return 'Something went wrong in this page. Reload it and try again.';
  const fields = error.errors.map(({ field, messages }) => `${field === '' ? '' : `${field} `}${messages.join('; ')}`);
  return [error.detail, ...fields].join(' ');
}

/** @returns the API's messages by the name of the input, as react-admin's forms take them from `onSubmit` */
export function fieldErrors(error: unknown): Record<string, string> {
  return error instanceof ApiError ? error.body.errors : {};
}

/** The same, but never empty: a form that was refused for another reason asks, too, before it is left unsaved. */
export function submissionErrors(error: unknown): Record<string, unknown> {
  const fields = fieldErrors(error);
  return Object.keys(fields).length > 0 ? fields : { root: { serverError: messageOf(error) } };
}

interface ConfirmDialogProps {
  open: boolean;
  /** The question, as in `Suspend Acme Channel?` */
  title: string;
  /** What will happen. */
  children: ReactNode;
  /** A verb, as in `Suspend`. */
  confirmLabel: string;
  /** `true`: nothing happens without a reason; `optional`: one may be given. It is kept in the audit trail. */
  requireReason?: boolean | 'optional';
  /** What has to be typed before the button works. */
  typed?: string;
  danger?: boolean;
  /** Resolves when it is done (the dialog closes); what it throws is shown in the dialog, which keeps what was typed. */
  onConfirm: (input: { reason?: string }) => Promise<unknown>;
  onClose: () => void;
}

/** Says what will happen and asks once. */
export function ConfirmDialog(props: ConfirmDialogProps): ReactNode {
  const titleId = useId();
  const [busy, setBusy] = useState(false);
  const close = (): void => {
    if (!busy) props.onClose();
  };
  return (
    <Dialog open={props.open} onClose={close} aria-labelledby={titleId} fullWidth maxWidth="sm">
      <DialogTitle id={titleId}>{props.title}</DialogTitle>
      <ConfirmForm {...props} busy={busy} setBusy={setBusy} />
    </Dialog>
  );
}

/** Mounted while the dialog is open, so that each opening starts empty. */
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
  const ready =
    !busy && (requireReason !== true || reason.trim() !== '') && (typed === undefined || repeated.trim() === typed);
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    event.stopPropagation();
    if (!ready) return;
    setBusy(true);
    setError(undefined);
    onConfirm(reason.trim() === '' ? {} : { reason: reason.trim() })
      .then(onClose, setError)
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
              helperText={fieldErrors(error)['reason'] ?? 'Kept in the audit trail.'}
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
 * A value to be taken elsewhere, with a copy button.
 *
 * @param secret hidden until asked for; copying works while hidden
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
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(value);
    setCopied(true);
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
              {/* The clipboard needs https or localhost. */}
              {window.isSecureContext && (
                <Tooltip title={copied ? 'Copied' : 'Copy'}>
                  <IconButton aria-label={`Copy ${what}`} edge="end" onClick={() => void copy()}>
                    {copied ? <CheckIcon color="success" /> : <ContentCopyIcon />}
                  </IconButton>
                </Tooltip>
              )}
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
 * Something that is shown this once: a dialog that no stray click closes. The caller keeps the secret in its state only
 * and drops it on `onClose`.
 *
 * @param children the fields, made of CopyField
 */
export function SecretOnce({
  open,
  title,
  children,
  onClose,
  doneLabel = 'I have kept it',
}: {
  open: boolean;
  title: string;
  children: ReactNode;
  onClose: () => void;
  doneLabel?: string;
}): ReactNode {
  const titleId = useId();
  return (
    <Dialog open={open} aria-labelledby={titleId} fullWidth maxWidth="sm">
      <DialogTitle id={titleId}>{title}</DialogTitle>
      <DialogContent>
        <Stack spacing={2}>
          <Alert severity="warning">This is shown once. Nobody, not even an admin, can read it again.</Alert>
          {children}
        </Stack>
      </DialogContent>
      <DialogActions>
        <Button variant="contained" onClick={onClose}>
          {doneLabel}
        </Button>
      </DialogActions>
    </Dialog>
  );
}
