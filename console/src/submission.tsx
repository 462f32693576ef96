import Alert from '@mui/material/Alert';
import { type ReactNode, type SyntheticEvent, useEffect, useRef, useState } from 'react';
import { useNotify } from 'react-admin';
import { fieldErrors, messageOf } from './feedback.tsx';
import { focusFirstInvalid, TYPED, useUnsaved } from './leave-guard.tsx';

export interface Submission {
  /** Whether the form was sent and is not answered yet. */
  readonly busy: boolean;
  /** The error of the last attempt. */
  readonly error: unknown;
  /** The API's messages by name of the field. */
  readonly errors: Record<string, string>;
  readonly onSubmit: (event: SyntheticEvent) => void;
}

/**
 * A form that is sent once at a time. A refusal keeps the input and focuses the first invalid field. Leaving the form
 * asks first.
 *
 * @param send sends the form; its error is shown
 * @param isTyped whether leaving would lose input
 * @param check validates before sending; returns a message for each invalid field
 */
export function useSubmission(
  send: () => Promise<unknown>,
  isTyped: boolean,
  check: () => Record<string, string | undefined> = () => ({}),
): Submission {
  const [error, setError] = useState<unknown>();
  const [checked, setChecked] = useState<Record<string, string>>({});
  const [busy, setBusy] = useState(false);
  const [refusals, setRefusals] = useState(0);
  const form = useRef<Element>(null);
  const release = useUnsaved(isTyped, 'input', TYPED);
  useEffect(() => {
    if (refusals > 0) focusFirstInvalid(form.current);
  }, [refusals]);
  const onSubmit = (event: SyntheticEvent): void => {
    event.preventDefault();
    event.stopPropagation();
    if (busy) return;
    form.current = event.currentTarget;
    const found = Object.entries(check()).filter((entry): entry is [string, string] => entry[1] !== undefined);
    setChecked(Object.fromEntries(found));
    setError(undefined);
    if (found.length > 0) {
      setRefusals(refusals + 1);
      return;
    }
    setBusy(true);
    send()
      .then(release, (thrown: unknown) => {
        setError(thrown);
        setRefusals(refusals + 1);
      })
      .finally(() => {
        setBusy(false);
      });
  };
  return { busy, error, errors: { ...fieldErrors(error), ...checked }, onSubmit };
}

/**
 * Shows a refusal whose reason no field shows.
 *
 * @param fields the fields that show their own errors
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

/** Runs a button's action, and notifies of its success or failure. */
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
