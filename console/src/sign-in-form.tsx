import Alert from '@mui/material/Alert';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import { type ReactNode, type RefObject, type SyntheticEvent, useRef, useState } from 'react';
import { ApiError } from './api.ts';
import type { SignInFields } from './auth.ts';
import { messageOf } from './feedback.tsx';
import { PasswordField } from './password-field.tsx';

interface SignInFormProps {
  /** Fixed e-mail address of a person who signs in again. */
  readonly email?: string;
  /** Signs in. The form shows the error that it throws. */
  readonly onSignIn: (fields: SignInFields) => Promise<unknown>;
  readonly onStep?: (step: 'password' | 'code') => void;
  /** Whether there is another way to sign in, which comes first. */
  readonly secondary?: boolean;
}

/**
 * E-mail and password, and then the second factor if there is one. Reads the values from the fields themselves, since a
 * password manager may fill them without an event.
 */
export function SignInForm({ email, onSignIn, onStep, secondary = false }: SignInFormProps): ReactNode {
  const emailInput = useRef<HTMLInputElement>(null);
  const passwordInput = useRef<HTMLInputElement>(null);
  const codeInput = useRef<HTMLInputElement>(null);
  const [asksCode, setAsksCode] = useState(false);
  const [missing, setMissing] = useState<RefObject<HTMLInputElement | null>>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);

  const ask = (forCode: boolean): void => {
    setAsksCode(forCode);
    onStep?.(forCode ? 'code' : 'password');
  };
  const send = async (): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      await onSignIn({
        email: emailInput.current?.value.trim() ?? '',
        password: passwordInput.current?.value ?? '',
        ...(asksCode && { code: codeInput.current?.value.trim() }),
      });
    } catch (thrown) {
      if (thrown instanceof ApiError && thrown.code === 'session.code-required') ask(true);
      else setError(thrown);
      if (codeInput.current) codeInput.current.value = '';
    } finally {
      setBusy(false);
    }
  };
  const onSubmit = (event: SyntheticEvent): void => {
    event.preventDefault();
    // In a dialog over another form, React would submit that form, too.
    event.stopPropagation();
    if (busy) return;
    const needed = asksCode ? [codeInput] : [emailInput, passwordInput];
    const empty = needed.find(({ current }) => (current?.value ?? '').trim() === '');
    setMissing(empty);
    if (empty) empty.current?.focus();
    else void send();
  };

  return (
    <form onSubmit={onSubmit} noValidate>
      <Stack spacing={2.5}>
        {error !== undefined && <Alert severity="error">{messageOf(error)}</Alert>}
        {/* Hidden but kept while the form asks for the code, since they are sent again with it. */}
        <Stack spacing={2.5} hidden={asksCode} sx={asksCode ? { display: 'none' } : {}}>
          <TextField
            label="E-mail"
            type="email"
            defaultValue={email}
            inputRef={emailInput}
            autoComplete="username"
            autoFocus={email === undefined && !secondary}
            required
            error={missing === emailInput}
            helperText={missing === emailInput ? 'Type your e-mail address.' : undefined}
            slotProps={{ htmlInput: { readOnly: email !== undefined } }}
          />
          <PasswordField
            label="Password"
            inputRef={passwordInput}
            autoComplete="current-password"
            autoFocus={email !== undefined}
            required
            error={missing === passwordInput}
            helperText={missing === passwordInput ? 'Type your password.' : undefined}
          />
        </Stack>
        {asksCode && (
          <TextField
            label="Code"
            inputRef={codeInput}
            error={missing === codeInput}
            helperText={
              missing === codeInput
                ? 'Type the code.'
                : 'Six digits from your authenticator app, or one of your recovery codes.'
            }
            autoComplete="one-time-code"
            autoFocus
            required
          />
        )}
        <Button type="submit" variant={secondary ? 'outlined' : 'contained'} size="large" loading={busy}>
          {asksCode ? 'Continue' : 'Sign in'}
        </Button>
        {asksCode && email === undefined && (
          <Button
            onClick={() => {
              if (passwordInput.current) passwordInput.current.value = '';
              setError(undefined);
              ask(false);
            }}
          >
            Sign in as another person
          </Button>
        )}
      </Stack>
    </form>
  );
}
