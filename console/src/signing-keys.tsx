import Alert from '@mui/material/Alert';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Checkbox from '@mui/material/Checkbox';
import Chip, { type ChipProps } from '@mui/material/Chip';
import FormControlLabel from '@mui/material/FormControlLabel';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { Loading, useNotify } from 'react-admin';
import { api } from './api.ts';
import { ConfirmDialog, messageOf, Time } from './feedback.tsx';
import { Page, Section } from './page.tsx';
import type { SigningKey, SigningKeyList } from './types.ts';

const KEYS = ['signing-keys'];
const COLOR: Record<SigningKey['state'], ChipProps['color']> = {
  published: 'info',
  active: 'success',
  retiring: 'warning',
  retired: 'default',
  revoked: 'error',
};
const MEANING: Record<SigningKey['state'], string> = {
  published: 'Standby: signs after the next rotation.',
  active: 'Signs every new token.',
  retiring: 'No longer signs; its tokens are accepted until they expire.',
  retired: 'All its tokens have expired.',
  revoked: 'Compromised: all its tokens are refused.',
};
const WHOSE: Record<SigningKey['purpose'], string> = { partner: 'Partner tokens', staff: 'Staff sessions' };
/** States of keys in use. Other keys are shown as history. */
const LIVE: SigningKey['state'][] = ['active', 'published', 'retiring'];

interface Question {
  kind: 'rotate' | 'revoke';
  key: SigningKey;
}

function KeyRow({ signingKey: key, onRevoke }: { signingKey: SigningKey; onRevoke: () => void }): ReactNode {
  return (
    <Card variant="outlined" sx={{ p: 1.5 }}>
      <Stack direction={{ xs: 'column', sm: 'row' }} spacing={1} sx={{ justifyContent: 'space-between' }}>
        <Stack spacing={0.5} sx={{ minWidth: 0 }}>
          <Stack direction="row" spacing={1} sx={{ alignItems: 'center', minWidth: 0 }}>
            <Chip label={key.state} color={COLOR[key.state]} size="small" variant="outlined" />
            <Typography component="code" sx={{ fontFamily: 'monospace', fontSize: 14, overflowWrap: 'anywhere' }}>
              {key.kid}
            </Typography>
          </Stack>
          <Typography variant="body2" color="textSecondary">
            {MEANING[key.state]}
          </Typography>
          <Typography variant="body2" color="textSecondary" component="div">
            Made <Time value={key.createdAt} />
            {key.activatedAt !== null && (
              <>
                {' '}
                · signs since <Time value={key.activatedAt} />
              </>
            )}
            {key.state === 'retiring' && key.verifiesUntil !== null && (
              <>
                {' '}
                · accepted until <Time value={key.verifiesUntil} />
              </>
            )}
            {key.revokedAt !== null && (
              <>
                {' '}
                · revoked <Time value={key.revokedAt} />
              </>
            )}
          </Typography>
        </Stack>
        {LIVE.includes(key.state) && (
          <Button color="error" size="small" onClick={onRevoke} sx={{ alignSelf: { xs: 'flex-start', sm: 'center' } }}>
            Compromised…
          </Button>
        )}
      </Stack>
    </Card>
  );
}

/** The keys that sign tokens: their state, rotation, and replacing a compromised key. */
export function SigningKeys(): ReactNode {
  const client = useQueryClient();
  const notify = useNotify();
  const [question, setQuestion] = useState<Question>();
  const [emergency, setEmergency] = useState(false);
  const { data, error } = useQuery({
    queryKey: KEYS,
    queryFn: async () => (await api<SigningKeyList>('GET', '/admin/signing-keys')).data,
  });
  if (data === undefined) {
    return error === null ? <Loading /> : <Alert severity="error">{messageOf(error)}</Alert>;
  }

  const rotate = async (purpose: SigningKey['purpose'], reason: string | undefined): Promise<void> => {
    const answer = await api<SigningKeyList>('POST', '/admin/signing-keys/rotate', {
      json: { purpose, ...(reason !== undefined && { reason }), ...(emergency && { emergency }) },
    });
    client.setQueryData(KEYS, answer.data);
    notify('Rotated. The new key signs from now on.', { type: 'success' });
  };
  const revoke = async (kid: string, reason: string | undefined): Promise<void> => {
    await api('POST', `/admin/signing-keys/${encodeURIComponent(kid)}/revoke`, {
      json: reason === undefined ? {} : { reason },
    });
    await client.invalidateQueries({ queryKey: KEYS });
    notify('Revoked. Its tokens are refused.', { type: 'success' });
  };

  return (
    <Page title="Signing keys">
      {(['partner', 'staff'] as const).map((purpose) => {
        const keys = data.items.filter((key) => key.purpose === purpose);
        const active = keys.find(({ state }) => state === 'active');
        const past = keys.filter(({ state }) => !LIVE.includes(state));
        const ask = (kind: Question['kind'], key: SigningKey) => () => {
          setEmergency(false);
          setQuestion({ kind, key });
        };
        return (
          <Section key={purpose} title={WHOSE[purpose]}>
            {purpose === 'partner' && (
              <Typography color="textSecondary" component="div">
                {data.nextRotationAt === null ? (
                  'No rotation is scheduled. Rotate by hand.'
                ) : (
                  <>
                    Rotates automatically <Time value={data.nextRotationAt} relative /> (
                    <Time value={data.nextRotationAt} />)
                  </>
                )}
              </Typography>
            )}
            {LIVE.flatMap((state) => keys.filter((key) => key.state === state)).map((key) => (
              <KeyRow key={key.kid} signingKey={key} onRevoke={ask('revoke', key)} />
            ))}
            {active && (
              <Button variant="outlined" onClick={ask('rotate', active)} sx={{ alignSelf: 'flex-start' }}>
                Rotate now
              </Button>
            )}
            {past.length > 0 && (
              <details>
                <Typography component="summary" sx={{ cursor: 'pointer', mb: 1 }}>
                  {past.length === 1 ? 'One earlier key' : `${String(past.length)} earlier keys`}
                </Typography>
                <Stack spacing={1}>
                  {past.map((key) => (
                    <KeyRow key={key.kid} signingKey={key} onRevoke={ask('revoke', key)} />
                  ))}
                </Stack>
              </details>
            )}
          </Section>
        );
      })}
      <ConfirmDialog
        open={question?.kind === 'rotate'}
        title={`Rotate the key of ${WHOSE[question?.key.purpose ?? 'partner'].toLowerCase()}?`}
        confirmLabel="Rotate"
        requireReason="optional"
        onConfirm={({ reason }) => rotate(question?.key.purpose ?? 'partner', reason)}
        onClose={() => {
          setQuestion(undefined);
        }}
      >
        The standby key signs from now on, and Latchkey creates a new standby key. Existing tokens stay valid: the old
        key verifies until the last token it signed has expired.
        {question?.key.purpose === 'partner' && (
          <FormControlLabel
            label="Emergency: rotate even if verifiers may not have fetched the standby key yet"
            control={
              <Checkbox
                checked={emergency}
                onChange={(event) => {
                  setEmergency(event.target.checked);
                }}
              />
            }
          />
        )}
      </ConfirmDialog>
      <ConfirmDialog
        open={question?.kind === 'revoke'}
        title="Has this key been compromised?"
        confirmLabel="Revoke the key"
        danger
        requireReason
        typed={question?.key.kid.slice(0, 8) ?? ''}
        onConfirm={({ reason }) => revoke(question?.key.kid ?? '', reason)}
        onClose={() => {
          setQuestion(undefined);
        }}
      >
        <Stack spacing={1}>
          <span>
            Every token that <code>{question?.key.kid.slice(0, 8)}…</code> signed is refused within a second, on every
            instance. This cannot be undone.
          </span>
          <span>
            {question?.key.purpose === 'staff'
              ? 'All staff are signed out, including you.'
              : 'Every partner with a token signed by this key gets a 401 and must call /generateToken again. Passwords keep working.'}
          </span>
        </Stack>
      </ConfirmDialog>
    </Page>
  );
}
