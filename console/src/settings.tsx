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
import { Page, Section } from './page.tsx';
import { useMay } from './permissions.ts';
import type { Settings } from './types.ts';

const SETTINGS = ['settings'];

/** What holds for everybody. */
export function SettingsPage(): ReactNode {
  const isAdmin = useMay('admin');
  const client = useQueryClient();
  const notify = useNotify();
  const [asking, setAsking] = useState(false);
  const { data, error } = useQuery({
    queryKey: SETTINGS,
    queryFn: async () => (await api<Settings>('GET', '/admin/settings')).data,
  });
  if (error !== null) return <Alert severity="error">{messageOf(error)}</Alert>;
  if (data === undefined) return <Loading />;
  const required = data.secondFactorRequired;
  const change = async (): Promise<void> => {
    const answer = await api<Settings>('PATCH', '/admin/settings', { json: { secondFactorRequired: !required } });
    client.setQueryData(SETTINGS, answer.data);
    // Whether one has to enrol may have changed.
    forgetSession();
    notify(required ? 'A second factor is no longer required.' : 'A second factor is required from now on.', {
      type: 'success',
    });
  };
  return (
    <Page title="Settings">
      <Section title="Second factor for everybody">
        <Stack direction="row" spacing={1} sx={{ alignItems: 'center' }}>
          <Chip
            label={required ? 'Required' : 'Optional'}
            color={required ? 'success' : 'default'}
            variant="outlined"
            size="small"
          />
          <Typography color="text.secondary">
            {required
              ? 'Whoever has none can only set one up after signing in.'
              : 'Everybody decides for themselves, under “Your account”.'}
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
            {required ? 'Make it optional' : 'Require it for everybody'}
          </Button>
        ) : (
          <Typography variant="body2" color="text.secondary">
            Admins change this.
          </Typography>
        )}
      </Section>
      <ConfirmDialog
        open={asking}
        title={required ? 'Make the second factor optional?' : 'Require a second factor for everybody?'}
        confirmLabel={required ? 'Make it optional' : 'Require it'}
        onConfirm={change}
        onClose={() => {
          setAsking(false);
        }}
      >
        {required
          ? 'Those who have one keep it and may turn it off.'
          : 'Whoever has none, you included, can do nothing else until it is set up: in the console and through the API.'}
      </ConfirmDialog>
    </Page>
  );
}
