import Alert from '@mui/material/Alert';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Chip, { type ChipProps } from '@mui/material/Chip';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { Loading, useNotify } from 'react-admin';
import { api } from './api.ts';
import { ConfirmDialog, messageOf, Time } from './feedback.tsx';
import { Page, Section } from './page.tsx';
import type { SigningKey } from './types.ts';

interface SigningKeyList {
  items: SigningKey[];
  nextRotationAt: string | null;
}

const KEYS = ['signing-keys'];
const COLOR: Record<SigningKey['state'], ChipProps['color']> = {
  published: 'info',
  active: 'success',
  retiring: 'warning',
  retired: 'default',
  revoked: 'error',
};
const MEANING: Record<SigningKey['state'], string> = {
  published: 'Stands by: signs after the next rotation.',
  active: 'Signs every new token.',
  retiring: 'Signs no more; its tokens are accepted until they expire.',
  retired: 'All its tokens have expired.',
  revoked: 'Compromised: none of its tokens is accepted.',
};
const WHOSE: Record<SigningKey['purpose'], string> = { partner: 'Partner tokens', staff: 'Staff sessions' };
/** The rest is history. */
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
          <Typography variant="body2" color="text.secondary">
            {MEANING[key.state]}
          </Typography>
          <Typography variant="body2" color="text.secondary" component="div">
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

/** The keys that sign tokens: state, rotation, and the drill for the day one is lost. */
export function SigningKeys(): ReactNode {
  const client = useQueryClient();
  const notify = useNotify();
  const [question, setQuestion] = useState<Question>();
  const { data, error } = useQuery({
    queryKey: KEYS,
    queryFn: async () => (await api<SigningKeyList>('GET', '/admin/signing-keys')).data,
  });
  if (error !== null) return <Alert severity="error">{messageOf(error)}</Alert>;
  if (data === undefined) return <Loading />;

  const rotate = async (purpose: SigningKey['purpose'], reason: string | undefined): Promise<void> => {
    const answer = await api<SigningKeyList>('POST', '/admin/signing-keys/rotate', {
      json: { purpose, ...(reason !== undefined && { reason }) },
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
          setQuestion({ kind, key });
        };
        return (
          <Section key={purpose} title={WHOSE[purpose]}>
            {purpose === 'partner' && (
              <Typography color="text.secondary" component="div">
                {data.nextRotationAt === null ? (
                  'No rotation is scheduled: rotate by hand.'
                ) : (
                  <>
                    Rotates by itself <Time value={data.nextRotationAt} relative /> (<Time value={data.nextRotationAt} />)
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
        The standby signs from now on and a new standby is made. No token is refused: the old key verifies until the last
        token it signed has expired.
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
            instance. It cannot be undone.
          </span>
          <span>
            {question?.key.purpose === 'staff'
              ? 'All staff are signed out, you included.'
              : 'Every partner whose token it signed gets a 401 and has to call /generateToken again; their passwords keep working.'}
          </span>
        </Stack>
      </ConfirmDialog>
    </Page>
  );
}
