import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Card from '@mui/material/Card';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { type ReactNode, useState } from 'react';
import { Notification, useLogin } from 'react-admin';
import { insecureAddressProblem } from './auth.ts';
import { SignInForm } from './sign-in-form.tsx';

/** The page for people without a session. */
export function SignIn(): ReactNode {
  const login = useLogin();
  const [step, setStep] = useState<'password' | 'code'>('password');
  // On localhost, browsers send a Secure cookie over http, too.
  const problem = window.isSecureContext ? undefined : insecureAddressProblem();
  return (
    <Box
      component="main"
      sx={{ minHeight: '100dvh', display: 'grid', placeItems: 'center', p: 2, bgcolor: 'background.default' }}
    >
      <Card variant="outlined" sx={{ width: '100%', maxWidth: 400, p: { xs: 3, sm: 4 } }}>
        <Stack spacing={2.5}>
          <div>
            <Typography variant="h5" component="h1">
              Latchkey
            </Typography>
            <Typography color="textSecondary">
              {step === 'code' ? 'One more step: your second factor.' : 'Sign in to the staff console.'}
            </Typography>
          </div>
          {problem !== undefined && <Alert severity="warning">You cannot sign in at this address. {problem}</Alert>}
          <SignInForm onSignIn={login} onStep={setStep} />
        </Stack>
      </Card>
      <Notification />
    </Box>
  );
}
