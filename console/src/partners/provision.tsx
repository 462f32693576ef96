import Card from '@mui/material/Card';
import CardContent from '@mui/material/CardContent';
import Alert from '@mui/material/Alert';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import { Form, required, SaveButton, TextInput, Title, useRedirect } from 'react-admin';
import { useFormContext, useWatch } from 'react-hook-form';
import { Link } from 'react-router-dom';
import { messageOf, submissionErrors } from '../feedback.tsx';
import { useMay } from '../permissions.ts';
import type { Schemas } from '../types.ts';
import { DEFAULT_DELIVERY, DeliveryChoice } from './delivery-choice.tsx';
import { IssuedCredential } from './issued-credential.tsx';
import { type Limits, partnerApi } from './partner-api.ts';
import { ContactFields, DisplayNameInput, FieldGrid, LimitFields } from './partner-fields.tsx';
import { suggestUsername } from './words.ts';

const DEFAULTS: Limits & { username: string } = {
  displayName: '',
  username: '',
  contactEmail: null,
  scopes: [],
  tokenTtlSeconds: 3_600,
  tokensPerMinute: 60,
  allowedIps: [],
  expiresAt: null,
  notes: null,
};

const USERNAME = /^[A-Za-z0-9._@-]{3,64}$/;

/** An input that was emptied holds `null`. */
type Names = Record<'displayName' | 'username', string | null>;

/** Suggested from the display name until somebody types here. */
function UsernameInput() {
  const { setValue } = useFormContext<Names>();
  const [displayName, username] = useWatch<Names, ['displayName', 'username']>({
    name: ['displayName', 'username'],
  });
  const suggested = useRef('');
  useEffect(() => {
    const suggestion = suggestUsername(displayName ?? '');
    if ((username ?? '') === suggested.current && suggestion !== suggested.current) setValue('username', suggestion);
    suggested.current = suggestion;
  }, [displayName, username, setValue]);
  return (
    <TextInput
      source="username"
      label="Username"
      validate={[
        required('The partner signs in with it'),
        (value: string) => (USERNAME.test(value) ? undefined : '3 to 64 of: letters without accents, digits, . _ - @'),
      ]}
      helperText="What the partner signs in with. It cannot be changed later."
      autoComplete="off"
      slotProps={{ htmlInput: { spellCheck: false, autoCapitalize: 'none' } }}
      fullWidth
    />
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Stack component="section" spacing={2} useFlexGap>
      <Typography variant="h6" component="h2">
        {title}
      </Typography>
      {children}
    </Stack>
  );
}

/** Makes a partner: one short form, then its credentials this once. */
export function Provision() {
  const mayProvision = useMay('operator');
  const redirect = useRedirect();
  const queries = useQueryClient();
  const [delivery, setDelivery] = useState(DEFAULT_DELIVERY);
  const [failure, setFailure] = useState<unknown>();
  const [made, setMade] = useState<Schemas['NewChannelUserAnswer']>();

  const provision = async (values: Partial<Limits>): Promise<Record<string, unknown>> => {
    setFailure(undefined);
    try {
      const { username, ...limits } = { ...DEFAULTS, ...values };
      setMade(await partnerApi.create({ username, ...limits, ...delivery }));
      void queries.invalidateQueries({ queryKey: ['channel-users'] });
      void queries.invalidateQueries({ queryKey: ['overview'] });
      return {};
    } catch (error) {
      setFailure(error);
      return submissionErrors(error);
    }
  };

  if (!mayProvision) {
    return (
      <Alert severity="info" sx={{ mt: 2 }}>
        Operators and admins add partners. Ask one of them.
      </Alert>
    );
  }
  return (
    <Card sx={{ mt: 2, maxWidth: 1000, width: '100%', mx: 'auto' }}>
      <Title title="Add a partner" />
      <CardContent>
        <Typography variant="h5" component="h1" sx={{ mb: 2 }}>
          Add a partner
        </Typography>
        <Form
          noValidate
          defaultValues={DEFAULTS}
          onSubmit={provision}
          warnWhenUnsavedChanges={made === undefined}
          // The form says it itself; a notice would cover its buttons.
          disableInvalidFormNotification
        >
          <Stack spacing={3} useFlexGap>
            <Section title="Who">
              <FieldGrid>
                <DisplayNameInput />
                <UsernameInput />
                <ContactFields />
              </FieldGrid>
            </Section>
            <Section title="What it may do">
              <FieldGrid>
                <LimitFields />
              </FieldGrid>
            </Section>
            <DeliveryChoice value={delivery} onChange={setDelivery} />
            {failure !== undefined && <Alert severity="error">{messageOf(failure)} Nothing you typed is lost.</Alert>}
            <Stack direction="row" spacing={2} useFlexGap>
              <SaveButton label="Add partner" alwaysEnable />
              <Button component={Link} to="/channel-users">
                Cancel
              </Button>
            </Stack>
          </Stack>
        </Form>
      </CardContent>
      {made && (
        <IssuedCredential
          title={`${made.channelUser.displayName} is ready`}
          username={made.channelUser.username}
          issued={made}
          onClose={() => {
            redirect('show', 'channel-users', made.channelUser.id);
          }}
        />
      )}
    </Card>
  );
}
