import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Chip from '@mui/material/Chip';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useQuery, useQueryClient, type UseQueryResult } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { Loading, useNotify } from 'react-admin';
import { encode } from 'uqr';
import { api } from './api.ts';
import { currentSession, forgetSession } from './auth.ts';
import { CopyField, messageOf, SecretOnce, summaryOf, Time } from './feedback.tsx';
import { FormDialog } from './leave-guard.tsx';
import { Page, Section } from './page.tsx';
import { PasswordField } from './password-field.tsx';
import { useSignInMethods } from './single-sign-on.tsx';
import { Refusal, useSubmission } from './submission.tsx';
import { TextFileButton } from './text-file-button.tsx';
import type { Schemas, Session, Settings } from './types.ts';

const SESSION = ['session'];

function useSession(): UseQueryResult<Session> {
  return useQuery({ queryKey: SESSION, queryFn: currentSession });
}

/** @returns a function that loads the session again after a change */
function useRefreshSession(): () => Promise<void> {
  const client = useQueryClient();
  return async () => {
    forgetSession();
    await client.invalidateQueries({ queryKey: SESSION });
  };
}

const MIN_PASSWORD = 12;

/** Checks a new password before it is sent. */
function newPasswordProblem(current: string, chosen: string): string | undefined {
  if ([...chosen].length < MIN_PASSWORD)
    return `At least ${String(MIN_PASSWORD)} characters; this one has ${String([...chosen].length)}.`;
  return chosen === current ? 'Choose a password that differs from the current one.' : undefined;
}

function ChangePassword(): ReactNode {
  const notify = useNotify();
  const [currentPassword, setCurrent] = useState('');
  const [newPassword, setNew] = useState('');
  const submission = useSubmission(
    async () => {
      await api('PATCH', '/admin/session/password', { json: { currentPassword, newPassword } });
      setCurrent('');
      setNew('');
      notify('Password changed. Your other sessions have ended.', { type: 'success' });
    },
    currentPassword !== '' || newPassword !== '',
    () => ({ newPassword: newPasswordProblem(currentPassword, newPassword) }),
  );
  const { errors, busy } = submission;
  return (
    <Section title="Password">
      <form onSubmit={submission.onSubmit} noValidate>
        <Stack spacing={2} sx={{ maxWidth: 400 }}>
          <PasswordField
            label="Current password"
            autoComplete="current-password"
            value={currentPassword}
            onChange={(event) => {
              setCurrent(event.target.value);
            }}
            error={errors['currentPassword'] !== undefined}
            helperText={errors['currentPassword']}
          />
          <PasswordField
            label="New password"
            autoComplete="new-password"
            value={newPassword}
            onChange={(event) => {
              setNew(event.target.value);
            }}
            error={errors['newPassword'] !== undefined}
            helperText={errors['newPassword'] ?? 'At least 12 characters. Your other sessions end.'}
          />
          <Refusal submission={submission} fields={['currentPassword', 'newPassword']} />
          <Button
            type="submit"
            variant="contained"
            loading={busy}
            disabled={currentPassword === '' || newPassword === ''}
            sx={{ alignSelf: 'flex-start' }}
          >
            Change password
          </Button>
        </Stack>
      </form>
    </Section>
  );
}

/** The file with recovery codes. Explains its purpose, since it may be found years later. */
const recoveryFile = (codes: readonly string[]): string =>
  [
    `Recovery codes for the Latchkey console at ${window.location.origin}.`,
    'Each code signs you in once.',
    '',
    ...codes,
    '',
  ].join('\r\n');

/** A QR code, dark on white in both themes, as scanners expect. */
function QrCode({ text }: { text: string }): ReactNode {
  const { data, size } = encode(text, { ecc: 'M', border: 2 });
  const path = data
    .flatMap((row, y) => row.flatMap((dark, x) => (dark ? [`M${String(x)} ${String(y)}h1v1h-1z`] : [])))
    .join('');
  return (
    <Box
      sx={{
        alignSelf: 'center',
        lineHeight: 0,
        borderRadius: 1,
        overflow: 'hidden',
        border: 1,
        borderColor: 'divider',
      }}
    >
      <svg
        role="img"
        aria-label="QR code for your authenticator app"
        width={208}
        height={208}
        viewBox={`0 0 ${String(size)} ${String(size)}`}
        shapeRendering="crispEdges"
      >
        <rect width={size} height={size} fill="#fff" />
        <path d={path} fill="#000" />
      </svg>
    </Box>
  );
}

/** A dialog that posts one field. Keeps the input when the API refuses it. */
function OneFieldDialog({
  open,
  title,
  label,
  type,
  autoComplete,
  submitLabel,
  danger = false,
  children,
  onSubmit,
  onClose,
}: {
  open: boolean;
  title: string;
  label: string;
  type: 'password' | 'text';
  autoComplete: string;
  submitLabel: string;
  danger?: boolean;
  children: ReactNode;
  onSubmit: (value: string) => Promise<void>;
  onClose: () => void;
}): ReactNode {
  return (
    <FormDialog open={open} title={title} maxWidth="xs" onClose={onClose}>
      <OneField {...{ label, type, autoComplete, submitLabel, danger, onSubmit, onClose }}>{children}</OneField>
    </FormDialog>
  );
}

function OneField({
  label,
  type,
  autoComplete,
  submitLabel,
  danger,
  children,
  onSubmit,
  onClose,
}: {
  label: string;
  type: 'password' | 'text';
  autoComplete: string;
  submitLabel: string;
  danger: boolean;
  children: ReactNode;
  onSubmit: (value: string) => Promise<void>;
  onClose: () => void;
}): ReactNode {
  const [value, setValue] = useState('');
  const submission = useSubmission(() => onSubmit(value.trim()), value !== '');
  const { error, busy } = submission;
  const Field = type === 'password' ? PasswordField : TextField;
  return (
    <form onSubmit={submission.onSubmit} noValidate>
      <DialogContent sx={{ pt: 0 }}>
        <Stack spacing={2}>
          {children}
          <Field
            label={label}
            autoComplete={autoComplete}
            value={value}
            onChange={(event) => {
              setValue(event.target.value);
            }}
            error={error !== undefined}
            helperText={error === undefined ? undefined : summaryOf(error)}
            autoFocus
            fullWidth
          />
        </Stack>
      </DialogContent>
      <DialogActions>
        <Button onClick={onClose}>Cancel</Button>
        <Button
          type="submit"
          variant="contained"
          color={danger ? 'error' : 'primary'}
          loading={busy}
          disabled={value.trim() === ''}
        >
          {submitLabel}
        </Button>
      </DialogActions>
    </form>
  );
}

type Step = 'start' | 'scan' | 'renew' | 'disable';

function SecondFactor({ enabled, required }: { enabled: boolean; required: boolean }): ReactNode {
  const notify = useNotify();
  const refresh = useRefreshSession();
  const [step, setStep] = useState<Step>();
  const [enrolment, setEnrolment] = useState<{ secret: string; uri: string }>();
  const [codes, setCodes] = useState<string[]>();
  const close = (): void => {
    setStep(undefined);
    setEnrolment(undefined);
  };

  const start = async (currentPassword: string): Promise<void> => {
    const { data } = await api<Schemas['TotpSecretDto']>('POST', '/admin/session/totp', {
      json: { currentPassword },
    });
    setEnrolment(data);
    setStep('scan');
  };
  const confirm = async (code: string): Promise<void> => {
    const { data } = await api<Schemas['RecoveryCodesDto']>('POST', '/admin/session/totp/confirm', { json: { code } });
    close();
    setCodes(data.recoveryCodes);
    await refresh();
  };
  const renew = async (currentPassword: string): Promise<void> => {
    const { data } = await api<Schemas['RecoveryCodesDto']>('POST', '/admin/session/recovery-codes', {
      json: { currentPassword },
    });
    close();
    setCodes(data.recoveryCodes);
  };
  const disable = async (currentPassword: string): Promise<void> => {
    await api('DELETE', '/admin/session/totp', { json: { currentPassword } });
    close();
    notify('The second factor is off.', { type: 'success' });
    await refresh();
  };

  const passwordField = { label: 'Current password', type: 'password', autoComplete: 'current-password' } as const;
  return (
    <Section title="Second factor">
      <Stack direction="row" spacing={1} sx={{ alignItems: 'center' }}>
        <Chip label={enabled ? 'On' : 'Off'} color={enabled ? 'success' : 'default'} variant="outlined" size="small" />
        <Typography color="textSecondary">
          {enabled
            ? 'To sign in, you need a code from your authenticator app.'
            : 'Anybody who learns your password can sign in as you.'}
        </Typography>
      </Stack>
      <Stack direction="row" spacing={1} useFlexGap sx={{ flexWrap: 'wrap' }}>
        {enabled ? (
          <>
            <Button
              variant="outlined"
              onClick={() => {
                setStep('renew');
              }}
            >
              New recovery codes
            </Button>
            <Button
              color="error"
              disabled={required}
              onClick={() => {
                setStep('disable');
              }}
            >
              Turn off
            </Button>
          </>
        ) : (
          <Button
            variant="contained"
            onClick={() => {
              setStep('start');
            }}
          >
            Set up
          </Button>
        )}
      </Stack>
      {enabled && required && (
        <Typography variant="body2" color="textSecondary">
          You cannot turn it off, because all staff need a second factor.
        </Typography>
      )}

      <OneFieldDialog
        open={step === 'start'}
        title="Set up a second factor"
        {...passwordField}
        submitLabel="Continue"
        onSubmit={start}
        onClose={close}
      >
        <Typography>You need an authenticator app on your phone. First, type your password again.</Typography>
      </OneFieldDialog>
      <OneFieldDialog
        open={step === 'scan' && enrolment !== undefined}
        title="Scan this with your app"
        label="Code"
        type="text"
        autoComplete="one-time-code"
        submitLabel="Turn on"
        onSubmit={confirm}
        onClose={close}
      >
        <QrCode text={enrolment?.uri ?? ''} />
        <CopyField label="Key, if you cannot scan" value={enrolment?.secret ?? ''} />
        <Typography>Then type the six digits that the app shows.</Typography>
      </OneFieldDialog>
      <OneFieldDialog
        open={step === 'renew'}
        title="New recovery codes?"
        {...passwordField}
        submitLabel="Create new codes"
        onSubmit={renew}
        onClose={close}
      >
        <Typography>Your current codes stop working.</Typography>
      </OneFieldDialog>
      <OneFieldDialog
        open={step === 'disable'}
        title="Turn off the second factor?"
        {...passwordField}
        submitLabel="Turn off"
        danger
        onSubmit={disable}
        onClose={close}
      >
        <Typography>Your password alone will be enough to sign in. The recovery codes stop working.</Typography>
      </OneFieldDialog>
      <SecretOnce
        open={codes !== undefined}
        title="Your recovery codes"
        what="The list of recovery codes"
        doneLabel="I have saved them"
        onClose={() => {
          setCodes(undefined);
        }}
      >
        <Typography>
          Each code signs you in once if you do not have your phone. Keep them where you keep passwords.
        </Typography>
        <CopyField label="Recovery codes" value={codes?.join('\n') ?? ''} multiline />
        <Box>
          <TextFileButton name="latchkey-recovery-codes.txt" text={recoveryFile(codes ?? [])}>
            Save as a file
          </TextFileButton>
        </Box>
      </SecretOnce>
    </Section>
  );
}

/** The account of the signed-in person. */
export function Profile(): ReactNode {
  const { data: session, error } = useSession();
  const { data: methods } = useSignInMethods();
  // A person who still has to enrol may not read the settings.
  const { data: settings } = useQuery({
    queryKey: ['settings'],
    queryFn: async () => (await api<Settings>('GET', '/admin/settings')).data,
    enabled: session?.enrolmentRequired === false,
  });
  if (session === undefined) {
    return error === null ? <Loading /> : <Alert severity="error">{messageOf(error)}</Alert>;
  }
  return (
    <Page title="Your account">
      {session.enrolmentRequired && (
        <Alert severity="info">To continue, set up a second factor. All staff need one.</Alert>
      )}
      <Section title={session.name}>
        <Typography>
          {session.email} · {session.role}
        </Typography>
        <Typography variant="body2" color="textSecondary" component="div">
          This session ends <Time value={session.session.expiresAt} relative />
          {session.session.idleSeconds !== null &&
            `, or after ${String(Math.round(session.session.idleSeconds / 60))} minutes without use`}
          .
        </Typography>
      </Section>
      {session.identity === null ? (
        <>
          <SecondFactor
            enabled={session.secondFactor}
            required={settings?.secondFactorRequired === true || session.breakGlass}
          />
          <ChangePassword />
        </>
      ) : (
        <Section title="Sign-in">
          <Typography>
            You sign in with {methods?.singleSignOn?.name ?? 'the identity provider'}, which has your password, your
            second factor and your role. Change them there.
          </Typography>
        </Section>
      )}
    </Page>
  );
}
