import Alert from '@mui/material/Alert';
import Button from '@mui/material/Button';
import Chip from '@mui/material/Chip';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { Loading, useNotify } from 'react-admin';
import { api } from './api.ts';
import { forgetSession } from './auth.ts';
import { ConfirmDialog, messageOf } from './feedback.tsx';
import { LocalSignIn, SETTINGS } from './local-sign-in.tsx';
import { Page, Section } from './page.tsx';
import { useMay } from './permissions.ts';
import type { Settings } from './types.ts';

/** The settings of the whole deployment. */
export function SettingsPage(): ReactNode {
  const isAdmin = useMay('admin');
  const client = useQueryClient();
  const notify = useNotify();
  const [asking, setAsking] = useState(false);
  const { data, error } = useQuery({
    queryKey: SETTINGS,
    queryFn: async () => (await api<Settings>('GET', '/admin/settings')).data,
  });
  if (data === undefined) {
    return error === null ? <Loading /> : <Alert severity="error">{messageOf(error)}</Alert>;
  }
  const required = data.secondFactorRequired;
  const change = async (): Promise<void> => {
    const answer = await api<Settings>('PATCH', '/admin/settings', { json: { secondFactorRequired: !required } });
    client.setQueryData(SETTINGS, answer.data);
    // The session says whether the person has to enrol, which may have changed.
    forgetSession();
    notify(required ? 'A second factor is no longer required.' : 'A second factor is required from now on.', {
      type: 'success',
    });
  };
  return (
    <Page title="Settings">
      <Section title="Second factor for all staff">
        <Stack direction="row" spacing={1} sx={{ alignItems: 'center' }}>
          <Chip
            label={required ? 'Required' : 'Optional'}
            color={required ? 'success' : 'default'}
            variant="outlined"
            size="small"
          />
          <Typography color="textSecondary">
            {required
              ? 'Staff without one can only set one up after signing in.'
              : 'Staff decide for themselves, under “Your account”.'}
          </Typography>
        </Stack>
        {isAdmin ? (
          <Button
            variant="outlined"
            sx={{ alignSelf: 'flex-start' }}
            onClick={() => {
              setAsking(true);
            }}
          >
            {required ? 'Make it optional' : 'Require it for all staff'}
          </Button>
        ) : (
          <Typography variant="body2" color="textSecondary">
            Only admins can change this.
          </Typography>
        )}
      </Section>
      <LocalSignIn settings={data} isAdmin={isAdmin} />
      <ConfirmDialog
        open={asking}
        title={required ? 'Make the second factor optional?' : 'Require a second factor for all staff?'}
        confirmLabel={required ? 'Make it optional' : 'Require it'}
        onConfirm={change}
        onClose={() => {
          setAsking(false);
        }}
      >
        {required
          ? 'Staff who have one keep it, and can turn it off.'
          : 'Staff without one can do nothing else until they set one up, neither in the console nor through the API. This applies to you too.'}
      </ConfirmDialog>
    </Page>
  );
}
