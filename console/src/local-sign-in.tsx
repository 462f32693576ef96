import Button from '@mui/material/Button';
import Chip from '@mui/material/Chip';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { useNotify } from 'react-admin';
import { api } from './api.ts';
import { ConfirmDialog } from './feedback.tsx';
import { Section } from './page.tsx';
import { useSignInMethods } from './single-sign-on.tsx';
import type { Settings } from './types.ts';

export const SETTINGS = ['settings'];

/** Who may sign in with a password. Shown where there is another way, or where passwords are restricted. */
export function LocalSignIn({ settings, isAdmin }: { settings: Settings; isAdmin: boolean }): ReactNode {
  const client = useQueryClient();
  const notify = useNotify();
  const [asking, setAsking] = useState(false);
  const provider = useSignInMethods().data?.singleSignOn?.name;
  const isRestricted = settings.localSignIn === 'break-glass';
  if (provider === undefined && !isRestricted) return null;
  const change = async (): Promise<void> => {
    const json = { localSignIn: isRestricted ? 'everybody' : 'break-glass' };
    client.setQueryData(SETTINGS, (await api<Settings>('PATCH', '/admin/settings', { json })).data);
    await client.invalidateQueries({ queryKey: ['sign-in-methods'] });
    notify(
      isRestricted ? 'Passwords work for everybody who has one.' : 'Passwords work for break-glass accounts only.',
      {
        type: 'success',
      },
    );
  };
  const way = provider ?? 'the identity provider';
  return (
    <Section title="Signing in with a password">
      <Stack direction="row" spacing={1} sx={{ alignItems: 'center' }}>
        <Chip
          label={isRestricted ? 'Break-glass only' : 'Everybody'}
          color={isRestricted ? 'success' : 'default'}
          variant="outlined"
          size="small"
        />
        <Typography color="textSecondary">
          {isRestricted
            ? `Staff sign in with ${way}. Passwords are for emergencies.`
            : `Everybody who has a password can use it beside ${way}.`}
        </Typography>
      </Stack>
      {isAdmin && (
        <Button
          variant="outlined"
          sx={{ alignSelf: 'flex-start' }}
          onClick={() => {
            setAsking(true);
          }}
        >
          {isRestricted ? 'Allow passwords for everybody' : 'Restrict passwords to break-glass accounts'}
        </Button>
      )}
      <ConfirmDialog
        open={asking}
        title={isRestricted ? 'Allow passwords for everybody?' : 'Restrict passwords to break-glass accounts?'}
        confirmLabel={isRestricted ? 'Allow them' : 'Restrict them'}
        onConfirm={change}
        onClose={() => {
          setAsking(false);
        }}
      >
        {isRestricted
          ? `Everybody who has a password of Latchkey can sign in with it again, beside ${way}.`
          : `All others then sign in with ${way}. Sessions that are open go on until they end. If ${way} fails, only a break-glass account, or the command line of the server, lets somebody in.`}
      </ConfirmDialog>
    </Section>
  );
}
