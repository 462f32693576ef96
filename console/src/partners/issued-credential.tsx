import Alert from '@mui/material/Alert';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import { type RefObject, useEffect, useRef } from 'react';
import { useBlocker, useCanBlock } from 'react-admin';
import { api } from '../api.ts';
import { ConfirmDialog, CopyField, SecretOnce, Time } from '../feedback.tsx';
import type { Schemas } from '../types.ts';
import type { NewCredential } from './partner-api.ts';
import { curlOf, oauthCurlOf } from './words.ts';

/** Where partners call. The console may be open under another name, or at a port that serves staff alone. */
function usePartnerOrigin(): string {
  const { data } = useQuery({
    queryKey: ['partner-origin'],
    queryFn: async () => (await api<Schemas['SettingsDto']>('GET', '/admin/settings')).data.publicUrl,
    staleTime: Infinity,
    retry: false,
  });
  return data ?? window.location.origin;
}

interface IssuedFieldsProps {
  readonly username: string;
  readonly issued: NewCredential;
}

/** A new credential, this once: the link that hands it over, or the password with what the partner pastes. */
function IssuedFields({ username, issued }: IssuedFieldsProps) {
  const origin = usePartnerOrigin();
  const { credential, handoverUrl, handover } = issued;
  const { password } = credential;
  if (password === undefined) {
    return (
      <Stack spacing={2} useFlexGap sx={{ pt: 1 }}>
        <CopyField label="One-time link" value={handoverUrl ?? ''} />
        <Typography>
          Send it to the partner. Whoever opens it and presses <strong>Reveal</strong> first sees the password, so send
          it to one person. It works once, until <Time value={handover?.expiresAt} />.
        </Typography>
        <Typography color="textSecondary">
          You can see whether it was used, and revoke it, under Passwords. If it is lost, make a new one there.
        </Typography>
      </Stack>
    );
  }
  return (
    <Stack spacing={2} useFlexGap sx={{ pt: 1 }}>
      <CopyField label="Username" value={username} />
      <CopyField label="Password" value={password} />
      <CopyField label="Command to get a token" value={curlOf(origin, username, password)} multiline />
      <CopyField label="Command for OAuth libraries" value={oauthCurlOf(origin, username, password)} multiline />
      {credential.fingerprint !== null && (
        <Alert severity="info" icon={false}>
          Fingerprint <code>{credential.fingerprint}</code>: the partner can use it to tell which password it holds,
          nobody can learn the password from it.
        </Alert>
      )}
    </Stack>
  );
}

/** Asks before one goes back or elsewhere in the console. */
function LeaveGuard({ isDone, what }: { isDone: RefObject<boolean>; what: string }) {
  const blocker = useBlocker(() => !isDone.current);
  return (
    <ConfirmDialog
      open={blocker.state === 'blocked'}
      title="Leave without it?"
      confirmLabel="Leave"
      danger
      onConfirm={() => {
        blocker.proceed?.();
        return Promise.resolve();
      }}
      onClose={() => blocker.reset?.()}
    >
      <Typography>{what} cannot be shown again. You would have to make a new one.</Typography>
    </ConfirmDialog>
  );
}

interface IssuedCredentialProps extends IssuedFieldsProps {
  readonly title: string;
  readonly onClose: () => void;
}

/** Shows a new credential, this once. Going back or leaving the site asks first, since it would be lost. */
export function IssuedCredential({ title, onClose, ...fields }: IssuedCredentialProps) {
  const isDone = useRef(false);
  const canBlock = useCanBlock();
  useEffect(() => {
    const warn = (event: BeforeUnloadEvent): void => {
      event.preventDefault();
    };
    window.addEventListener('beforeunload', warn);
    return () => {
      window.removeEventListener('beforeunload', warn);
    };
  }, []);
  const isLink = fields.issued.credential.password === undefined;
  return (
    <>
      <SecretOnce
        open
        title={title}
        doneLabel={isLink ? 'I have copied the link' : 'I have kept it'}
        onClose={() => {
          isDone.current = true;
          onClose();
        }}
      >
        <IssuedFields {...fields} />
      </SecretOnce>
      {canBlock && <LeaveGuard isDone={isDone} what={isLink ? 'The link' : 'The password'} />}
    </>
  );
}
