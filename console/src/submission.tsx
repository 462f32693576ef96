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

/**
 * What was refused for a reason that stands beside none of the fields.
 *
 * @param fields those that show their errors
 */
export function Refusal({
  submission: { error, errors },
  fields,
}: {
  submission: Submission;
  fields: readonly string[];
}): ReactNode {
  const names = Object.keys(errors);
  const isShown = names.length > 0 && names.every((name) => fields.includes(name));
  return error === undefined || isShown ? null : <Alert severity="error">{messageOf(error)}</Alert>;
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
