import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { type ReactNode, type SyntheticEvent, useState } from 'react';
import { Notification, useLogin } from 'react-admin';
import { ApiError } from './api.ts';
import { messageOf } from './feedback.tsx';

/** E-mail and password; then, for those who have one, the second factor. */
export function SignIn(): ReactNode {
  const login = useLogin();
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const [code, setCode] = useState('');
  const [asksCode, setAsksCode] = useState(false);
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);

  const submit = async (): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      await login({ email: email.trim(), password, ...(asksCode && { code: code.trim() }) });
    } catch (thrown) {
      if (thrown instanceof ApiError && thrown.code === 'session.code-required') {
        setAsksCode(true);
      } else {
        setError(thrown);
        setCode('');
      }
      setBusy(false);
    }
  };
  const onSubmit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (!busy) void submit();
  };

  return (
    <Box
      component="main"
      sx={{ minHeight: '100dvh', display: 'grid', placeItems: 'center', p: 2, bgcolor: 'background.default' }}
    >
      <Card variant="outlined" sx={{ width: '100%', maxWidth: 400, p: { xs: 3, sm: 4 } }}>
        <form onSubmit={onSubmit} noValidate>
          <Stack spacing={2.5}>
            <div>
              <Typography variant="h5" component="h1">
                Latchkey
              </Typography>
              <Typography color="text.secondary">
                {asksCode ? 'One more step: your second factor.' : 'Sign in to the staff console.'}
              </Typography>
            </div>
            {error !== undefined && <Alert severity="error">{messageOf(error)}</Alert>}
            {asksCode ? (
              <TextField
                key="code"
                label="Code"
                value={code}
                onChange={(event) => {
                  setCode(event.target.value);
                }}
                helperText="Six digits from your authenticator app, or one of your recovery codes."
                autoComplete="one-time-code"
                autoFocus
                required
              />
            ) : (
              <>
                <TextField
                  label="E-mail"
                  type="email"
                  value={email}
                  onChange={(event) => {
                    setEmail(event.target.value);
                  }}
                  autoComplete="username"
                  autoFocus
                  required
                />
                <TextField
                  label="Password"
                  type="password"
                  value={password}
                  onChange={(event) => {
                    setPassword(event.target.value);
                  }}
                  autoComplete="current-password"
                  required
                />
              </>
            )}
            <Button
              type="submit"
              variant="contained"
              size="large"
              loading={busy}
              disabled={asksCode ? code.trim() === '' : email.trim() === '' || password === ''}
            >
              {asksCode ? 'Continue' : 'Sign in'}
            </Button>
            {asksCode && (
              <Button
                onClick={() => {
                  setAsksCode(false);
                  setPassword('');
                  setError(undefined);
                }}
              >
                Sign in as somebody else
              </Button>
            )}
          </Stack>
        </form>
      </Card>
      <Notification />
    </Box>
  );
}
