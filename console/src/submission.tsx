import Alert from '@mui/material/Alert';
import { type ReactNode, type SyntheticEvent, useState } from 'react';
import { useNotify } from 'react-admin';
import { fieldErrors, messageOf } from './feedback.tsx';

export interface Submission {
  /** Sent, and not answered yet. */
  readonly busy: boolean;
  /** Why the API refused it the last time. */
  readonly error: unknown;
  /** The API's messages by the name of the field. */
  readonly errors: Record<string, string>;
  readonly onSubmit: (event: SyntheticEvent) => void;
}

/**
 * A form that is sent once at a time. What was typed stays when the API refuses it.
 *
 * @param send what it throws is shown
 */
export function useSubmission(send: () => Promise<unknown>): Submission {
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const onSubmit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setError(undefined);
    send()
      .catch(setError)
      .finally(() => {
        setBusy(false);
      });
  };
  return { busy, error, errors: fieldErrors(error), onSubmit };
}

/** What was refused for a reason that is no field's. */
export function Refusal({ submission: { error, errors } }: { submission: Submission }): ReactNode {
  return error !== undefined && Object.keys(errors).length === 0 ? (
    <Alert severity="error">{messageOf(error)}</Alert>
  ) : null;
}

/** Something that a button does, and tells of when it is done or refused. */
export function useAction(): { busy: boolean; run: (work: Promise<unknown>, done: string) => Promise<void> } {
  const notify = useNotify();
  const [busy, setBusy] = useState(false);
  const run = async (work: Promise<unknown>, done: string): Promise<void> => {
    setBusy(true);
    try {
      await work;
      notify(done, { type: 'success' });
    } catch (error) {
      notify(messageOf(error), { type: 'error' });
    } finally {
      setBusy(false);
    }
  };
  return { busy, run };
}
