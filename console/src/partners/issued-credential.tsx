import Alert from '@mui/material/Alert';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { api } from '../api.ts';
import { CopyField, SecretOnce, Time } from '../feedback.tsx';
import type { Schemas } from '../types.ts';
import type { NewCredential } from './partner-api.ts';
import { curlOf, oauthCurlOf } from './words.ts';

/** The origin that partners call. The console may be open under another name, or on a port only for staff. */
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

/** A new credential: its hand-over link, or its password with commands that the partner can paste. */
function IssuedFields({ username, issued }: IssuedFieldsProps) {
  const origin = usePartnerOrigin();
  const { credential, handoverUrl, handover } = issued;
  const { password } = credential;
  if (password === undefined) {
    return (
      <Stack spacing={2} useFlexGap sx={{ pt: 1 }}>
        <CopyField label="One-time link" value={handoverUrl ?? ''} />
        <Typography>
          Send it to the partner. The first person to open it and press <strong>Reveal</strong> sees the password, so
          send it to one person only. It works once, until <Time value={handover?.expiresAt} />.
        </Typography>
        <Typography color="textSecondary">
          Under Passwords, you can see whether the link was used, and revoke it. If it is lost, create a new one there.
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
          Fingerprint <code>{credential.fingerprint}</code>: it tells the partner which password it has, but does not
          reveal the password.
        </Alert>
      )}
    </Stack>
  );
}

interface IssuedCredentialProps extends IssuedFieldsProps {
  readonly title: ReactNode;
  readonly onClose: () => void;
}

/** Shows a new credential once. */
export function IssuedCredential({ title, onClose, ...fields }: IssuedCredentialProps) {
  const isLink = fields.issued.credential.password === undefined;
  return (
    <SecretOnce
      open
      title={title}
      what={isLink ? 'The link' : 'The password'}
      doneLabel={isLink ? 'I have copied the link' : 'I have saved it'}
      onClose={onClose}
    >
      <IssuedFields {...fields} />
    </SecretOnce>
  );
}
