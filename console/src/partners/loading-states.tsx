import Alert from '@mui/material/Alert';
import Button from '@mui/material/Button';
import Skeleton from '@mui/material/Skeleton';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import type { ReactNode } from 'react';
import { isUnknownRoute } from '../api.ts';
import { messageOf } from '../feedback.tsx';

interface Asked<T> {
  readonly data: T | undefined;
  readonly error: unknown;
  readonly isFetching: boolean;
  readonly refetch: () => unknown;
}

interface LoadedProps<T> {
  readonly query: Asked<T>;
  /** Name of the data in messages, such as "the credentials". */
  readonly what: string;
  readonly rows?: number;
  readonly children: (data: T) => ReactNode;
}

/** Shows loaded data, a skeleton until it arrives, and an error with a retry. Old data stays visible. */
export function Loaded<T>({ query, what, rows = 3, children }: LoadedProps<T>) {
  const { data, error } = query;
  return (
    <>
      {error !== null && error !== undefined && (
        <Alert
          severity={isUnknownRoute(error) ? 'info' : 'error'}
          sx={{ mb: 2 }}
          action={
            <Button color="inherit" size="small" disabled={query.isFetching} onClick={() => void query.refetch()}>
              Try again
            </Button>
          }
        >
          {data === undefined
            ? `Could not load ${what}. `
            : `Could not refresh ${what}; showing the last known state. `}
          {isUnknownRoute(error)
            ? 'The server runs an older version, which does not have this. Try again once it is updated.'
            : messageOf(error)}
        </Alert>
      )}
      {data === undefined && (error === null || error === undefined) && (
        <Stack role="status" aria-label={`Loading ${what}`} spacing={1} useFlexGap>
          {Array.from({ length: rows }, (_, row) => (
            <Skeleton key={row} variant="rounded" height={40} />
          ))}
        </Stack>
      )}
      {data !== undefined && children(data)}
    </>
  );
}

/** Explains why there is nothing to show. */
export function Nothing({ children }: { children: ReactNode }) {
  return (
    <Typography color="textSecondary" sx={{ py: 2 }}>
      {children}
    </Typography>
  );
}
