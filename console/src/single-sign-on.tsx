import Alert from '@mui/material/Alert';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import { useQuery, type UseQueryResult } from '@tanstack/react-query';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import { api } from './api.ts';
import type { Schemas } from './types.ts';

export type SingleSignOn = NonNullable<Schemas['SignInMethodsDto']['singleSignOn']>;

/** How staff can sign in here. */
export function useSignInMethods(): UseQueryResult<Schemas['SignInMethodsDto']> {
  return useQuery({
    queryKey: ['sign-in-methods'],
    queryFn: async () => (await api<Schemas['SignInMethodsDto']>('GET', '/admin/session/methods')).data,
    retry: 1,
  });
}

/**
 * Leaves for the identity provider, which sends the browser back.
 *
 * @param from the page of the console to come back to, such as `/channel-users`
 */
export function SingleSignOnButton({ method, from }: { method: SingleSignOn; from: string }): ReactNode {
  const query = new URLSearchParams({ from: `/console${from}` }).toString();
  return (
    <Button href={`${method.url}?${query}`} variant="contained" size="large">
      Sign in with {method.name}
    </Button>
  );
}

/** The channel on which the window of a sign-in says that it is done. */
const CHANNEL = 'latchkey:signed-in';

/**
 * Signs in at the identity provider in a window of its own, so that nothing on this page is lost.
 *
 * @param path the URL that begins the sign-in
 * @param onDone called when the window says that it is done
 */
export function PopUpButton({
  path,
  label,
  onDone,
}: {
  path: string;
  label: string;
  onDone: () => Promise<void>;
}): ReactNode {
  const done = useRef(onDone);
  const [isOpen, setOpen] = useState(false);
  const [isBlocked, setBlocked] = useState(false);
  useEffect(() => {
    done.current = onDone;
  });
  useEffect(() => {
    const channel = new BroadcastChannel(CHANNEL);
    channel.addEventListener('message', () => {
      void done.current();
    });
    return () => {
      channel.close();
    };
  }, []);
  const open = (): void => {
    const window_ = window.open(path, 'latchkey-sign-in', 'popup,width=520,height=720');
    setBlocked(window_ === null);
    setOpen(window_ !== null);
  };
  return (
    <Stack spacing={1.5}>
      {isBlocked && <Alert severity="warning">The browser blocked the window. Allow pop-ups for this address.</Alert>}
      {isOpen && <Alert severity="info">Go on in the window that has opened.</Alert>}
      <Button variant="contained" size="large" onClick={open}>
        {label}
      </Button>
    </Stack>
  );
}
