import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Divider from '@mui/material/Divider';
import Link from '@mui/material/Link';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { type ReactNode, useState } from 'react';
import { Notification, useLogin } from 'react-admin';
import { useLocation } from 'react-router-dom';
import { insecureAddressProblem, signOutElsewhere } from './auth.ts';
import { SignInForm } from './sign-in-form.tsx';
import { SingleSignOnButton, useSignInMethods } from './single-sign-on.tsx';

/** Where react-admin keeps the page that asked for the sign-in. */
interface Asked {
  readonly nextPathname?: string;
  readonly nextSearch?: string;
}

/** The page for people without a session. */
export function SignIn(): ReactNode {
  const login = useLogin();
  const asked = useLocation().state as Asked | null;
  const methods = useSignInMethods();
  const [step, setStep] = useState<'password' | 'code'>('password');
  const [asksBreakGlass, setAsksBreakGlass] = useState(false);
  // On localhost, browsers send a Secure cookie over http, too.
  const problem = window.isSecureContext ? undefined : insecureAddressProblem();
  const singleSignOn = methods.data?.singleSignOn ?? undefined;
  const elsewhere = signOutElsewhere();
  const onlyBreakGlass = methods.data?.localSignIn === 'break-glass';
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
          {singleSignOn && elsewhere !== undefined && (
            <Alert severity="success">
              You are signed out of Latchkey. On a computer of others,{' '}
              <Link href={elsewhere}>sign out of {singleSignOn.name}</Link> as well.
            </Alert>
          )}
          {singleSignOn && step === 'password' && (
            <SingleSignOnButton
              method={singleSignOn}
              from={`${asked?.nextPathname ?? '/'}${asked?.nextSearch ?? ''}`}
            />
          )}
          {singleSignOn && step === 'password' && !onlyBreakGlass && <Divider>or</Divider>}
          {onlyBreakGlass && !asksBreakGlass && (
            <Button
              onClick={() => {
                setAsksBreakGlass(true);
              }}
            >
              Use a break-glass account
            </Button>
          )}
          {asksBreakGlass && (
            <Alert severity="info">Only for emergencies. Each use is reported to whoever receives notices.</Alert>
          )}
          {/* Without an answer, the form is better than nothing. */}
          {!methods.isPending && (!onlyBreakGlass || asksBreakGlass) && (
            <SignInForm onSignIn={login} onStep={setStep} secondary={singleSignOn !== undefined} />
          )}
        </Stack>
      </Card>
      <Notification />
    </Box>
  );
}
