import Button from '@mui/material/Button';
import Dialog from '@mui/material/Dialog';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import DialogTitle from '@mui/material/DialogTitle';
import Stack from '@mui/material/Stack';
import { useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useId } from 'react';
import { useLogout } from 'react-admin';
import { lastKnownSession, renewedSession, signIn } from './auth.ts';
import { discardUnsaved, mayDiscard } from './leave-guard.tsx';
import { SignInForm } from './sign-in-form.tsx';
import { PopUpButton, useSignInMethods } from './single-sign-on.tsx';
import type { Session } from './types.ts';

/**
 * A dialog for signing in again over a page that would lose something. Hides the page behind it, since the session has
 * ended.
 */
export function SignInAgain({ onDone }: { onDone: () => void }): ReactNode {
  const titleId = useId();
  const queries = useQueryClient();
  const logout = useLogout();
  const before = lastKnownSession();
  const singleSignOn = useSignInMethods().data?.singleSignOn;
  const goOn = async (now: Session): Promise<void> => {
    if (before && now.id !== before.id) {
      // Another person signed in, who must not see the first person's input or secrets.
      discardUnsaved();
      window.location.assign('/console/');
      return;
    }
    onDone();
    await queries.invalidateQueries();
  };
  return (
    <Dialog
      open
      aria-labelledby={titleId}
      fullWidth
      maxWidth="xs"
      slotProps={{ backdrop: { sx: { bgcolor: 'background.default', opacity: '1 !important' } } }}
    >
      <DialogTitle id={titleId}>Your session has ended</DialogTitle>
      <DialogContent>
        <Stack spacing={2.5}>
          <span>
            Sign in again
            {before && (
              <>
                , <bdi>{before.name}</bdi>,
              </>
            )}{' '}
            to continue where you were. Nothing on this page is lost.
          </span>
          {before?.identity && singleSignOn ? (
            <PopUpButton
              path={`${singleSignOn.path}?popUp=true`}
              label={`Sign in with ${singleSignOn.name}`}
              onDone={async () => {
                await goOn(await renewedSession());
              }}
            />
          ) : (
            <SignInForm
              {...(before && { email: before.email })}
              onSignIn={async (fields) => {
                await goOn(await signIn(fields));
              }}
            />
          )}
        </Stack>
      </DialogContent>
      <DialogActions>
        <Button
          onClick={() => {
            void mayDiscard().then((discard) => {
              if (!discard) return;
              discardUnsaved();
              onDone();
              void logout({}, undefined, false);
            });
          }}
        >
          Sign in as another person
        </Button>
      </DialogActions>
    </Dialog>
  );
}
