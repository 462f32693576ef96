import Card from '@mui/material/Card';
import CardContent from '@mui/material/CardContent';
import Alert from '@mui/material/Alert';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import { Form, required, SaveButton, TextInput, Title, useRedirect } from 'react-admin';
import { useFormContext, useWatch } from 'react-hook-form';
import { Link } from 'react-router-dom';
import { ApiError } from '../api.ts';
import { refusalOf, submissionErrors } from '../feedback.tsx';
import { FormGuard } from '../leave-guard.tsx';
import { RolePage } from '../role-page.tsx';
import type { Schemas } from '../types.ts';
import { DEFAULT_DELIVERY, DeliveryChoice } from './delivery-choice.tsx';
import { IssuedCredential } from './issued-credential.tsx';
import { type Limits, partnerApi } from './partner-api.ts';
import { FIELD_WORDS, FieldInput, FieldInputs, NEW_PARTNER } from './partner-fields.tsx';
import { FieldGrid } from './partner-inputs.tsx';
import { suggestUsername } from './words.ts';

const DEFAULTS: Limits & { username: string } = { ...NEW_PARTNER, username: '' };

const USERNAME = /^[A-Za-z0-9._@-]{3,64}$/;

/** The names in the form. An emptied input holds `null`. */
type Names = Record<'displayName' | 'username', string | null>;

const isTaken = (error: unknown): boolean => error instanceof ApiError && error.code === 'channel-user.username-taken';

const PAUSE_MS = 300;

/** @returns a free username similar to the wished one, when the typing pauses; `undefined` until then */
function useFreeUsername(wished: string): string | undefined {
  const [asked, setAsked] = useState('');
  useEffect(() => {
    const timer = setTimeout(() => {
      setAsked(wished);
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
    };
  }, [wished]);
  const { data } = useQuery({
    queryKey: ['free-username', asked],
    queryFn: () => partnerApi.freeUsername(asked),
    enabled: USERNAME.test(asked),
    // Only the API knows free names, so there is no suggestion without its answer.
    retry: false,
  });
  return asked === wished ? data : undefined;
}

/** Explains why there is no suggestion, or that a username is taken. */
function usernameAdvice(displayName: string, username: string, free: string | undefined): string | undefined {
  if (username !== '')
    return free === undefined || free === username ? undefined : `This username is taken. “${free}” is free.`;
  if (displayName.trim() === '') return undefined;
  return `“${displayName.trim()}” cannot be turned into a username: only letters from a to z, digits and . _ - @ are allowed. Type one.`;
}

/** The username, suggested from the display name until the person types one. Suggests only free names. */
function UsernameInput() {
  const { setValue } = useFormContext<Names>();
  const [displayName, username] = useWatch<Names, ['displayName', 'username']>({
    name: ['displayName', 'username'],
  });
  const base = useRef('');
  const suggested = useRef('');
  const free = useFreeUsername(username ?? '');
  useEffect(() => {
    const suggestion = suggestUsername(displayName ?? '');
    if (suggestion === base.current) return;
    base.current = suggestion;
    if ((username ?? '') !== suggested.current) return;
    suggested.current = suggestion;
    setValue('username', suggestion);
  }, [displayName, username, setValue]);
  useEffect(() => {
    if (free === undefined || (username ?? '') !== suggested.current || free === username) return;
    suggested.current = free;
    setValue('username', free);
  }, [free, username, setValue]);
  const advice = usernameAdvice(displayName ?? '', username ?? '', free);
  return (
    <TextInput
      source="username"
      label="Username"
      validate={[
        required('Type a username for the partner to sign in with'),
        (value: string) => (USERNAME.test(value) ? undefined : '3 to 64 letters without accents, digits or . _ - @'),
      ]}
      helperText={advice ?? 'The name that the partner signs in with. It cannot be changed later.'}
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

/** Creates a partner with one short form, then shows its credentials once. */
export function Provision() {
  return (
    <RolePage role="operator" what="add partners">
      <ProvisionForm />
    </RolePage>
  );
}

function ProvisionForm() {
  const redirect = useRedirect();
  const queries = useQueryClient();
  const [delivery, setDelivery] = useState(DEFAULT_DELIVERY);
  const [failure, setFailure] = useState<unknown>();
  const [made, setMade] = useState<Schemas['NewChannelUserDto']>();

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
      return {
        ...submissionErrors(error),
        ...(isTaken(error) && {
          username: 'Another partner has this username. Upper and lower case count as the same. Choose another.',
        }),
      };
    }
  };

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
          // The form shows its own message. A notification would cover its buttons.
          disableInvalidFormNotification
        >
          <FormGuard />
          <Stack spacing={3} useFlexGap>
            <Section title="Who">
              <FieldGrid>
                <FieldInput name="displayName" />
                <UsernameInput />
                <FieldInputs section="who" without={['displayName']} />
              </FieldGrid>
            </Section>
            <Section title="Permissions and limits">
              <FieldGrid>
                <FieldInputs section="limits" />
              </FieldGrid>
            </Section>
            <DeliveryChoice value={delivery} onChange={setDelivery} />
            {failure !== undefined && <Alert severity="error">{refusalOf(failure, FIELD_WORDS)}</Alert>}
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
          title={
            <>
              <bdi>{made.channelUser.displayName}</bdi> is ready
            </>
          }
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
