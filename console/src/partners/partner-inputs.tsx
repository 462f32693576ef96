import Box from '@mui/material/Box';
import MenuItem from '@mui/material/MenuItem';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import { useQuery } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { useInput } from 'react-admin';
import { ChipsInput } from './chips-input.tsx';
import { networkProblem } from './networks.ts';
import { partnerApi } from './partner-api.ts';
import { durationOf } from './words.ts';
import { isEmailAddress } from '../email.ts';

/** The properties that an input gets from the row of its field. */
export interface InputProps {
  readonly source: string;
  readonly label: string;
}

const SCOPE = /^[a-z][a-z0-9_-]{0,63}(:[a-z][a-z0-9_-]{0,63})?$/;
const scopeProblem = (scope: string): string | undefined =>
  SCOPE.test(scope) ? undefined : `“${scope}” is not a scope. Examples: calendar, calendar:write`;

/** The partner's scopes, from the running application's list. Other scopes are accepted and marked. */
export function ScopesInput({ source, label }: InputProps) {
  const { data, isPending } = useQuery({ queryKey: ['scopes'], queryFn: partnerApi.scopes, staleTime: 60_000 });
  const known = data?.items ?? [];
  const isDeclared = (scope: string): boolean => known.some(({ name, declared }) => declared && name === scope);
  return (
    <ChipsInput
      source={source}
      label={label}
      helperText="What the partner may do. Pick from the list, or type another scope and press Enter."
      options={known}
      isLoading={isPending}
      problemOf={scopeProblem}
      remarkOf={(scope) => (data && !isDeclared(scope) ? 'no module uses it' : undefined)}
      normalize={(scope) => scope.toLowerCase()}
    />
  );
}

export function AllowListInput({ source, label }: InputProps) {
  return (
    <ChipsInput
      source={source}
      label={label}
      helperText="Addresses or networks that the partner may call from. Empty: any address."
      placeholder="192.0.2.0/24"
      problemOf={networkProblem}
    />
  );
}

const LIVES = [900, 3_600, 28_800, 86_400];
const LEAST_LIFE = 60;
const MOST_LIFE = 86_400;

const lifeProblem = (seconds: unknown): string | undefined =>
  Number.isInteger(seconds) && Number(seconds) >= LEAST_LIFE && Number(seconds) <= MOST_LIFE
    ? undefined
    : `A whole number from ${String(LEAST_LIFE)} to ${MOST_LIFE.toLocaleString()} (one day)`;

/** The life of tokens: a preset, or any number of seconds. */
export function TokenLifeInput({ source, label }: InputProps) {
  const { field, fieldState, id } = useInput<number>({ source, validate: lifeProblem });
  const value = field.value as number | '';
  const [isOther, setOther] = useState(!LIVES.includes(Number(value)));
  const error = fieldState.error?.message;
  return (
    <Stack direction={{ xs: 'column', sm: 'row' }} spacing={2} useFlexGap>
      <TextField
        select
        fullWidth
        id={`${id}-preset`}
        label={label}
        value={isOther || !LIVES.includes(Number(value)) ? 'other' : String(value)}
        onChange={({ target }) => {
          setOther(target.value === 'other');
          if (target.value !== 'other') field.onChange(Number(target.value));
        }}
        error={!isOther && error !== undefined}
        helperText={(!isOther && error) || 'The partner must get a new token before this one expires.'}
      >
        {LIVES.map((seconds) => (
          <MenuItem key={seconds} value={String(seconds)}>
            {durationOf(seconds)}
            {seconds === 3_600 && ' (usual)'}
          </MenuItem>
        ))}
        <MenuItem value="other">Another time…</MenuItem>
      </TextField>
      {isOther && (
        <TextField
          fullWidth
          id={id}
          type="number"
          label="Seconds"
          value={Number.isNaN(value) ? '' : value}
          onChange={({ target }) => {
            field.onChange(target.value === '' ? '' : Number(target.value));
          }}
          onBlur={field.onBlur}
          error={error !== undefined}
          helperText={error ?? durationOf(Number(value))}
          slotProps={{ htmlInput: { min: LEAST_LIFE, max: MOST_LIFE, step: 1 } }}
        />
      )}
    </Stack>
  );
}

const pad = (part: number): string => String(part).padStart(2, '0');

/** A time in the format of `<input type="datetime-local">`: in the viewer's zone, without seconds. */
export function toLocal(iso: string): string {
  const at = new Date(iso);
  const day = `${String(at.getFullYear()).padStart(4, '0')}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
  return `${day}T${pad(at.getHours())}:${pad(at.getMinutes())}`;
}

const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** When the account expires. The form's value is ISO 8601 in UTC, or `null`. */
export function ExpiryInput({ source, label }: InputProps) {
  const { field, fieldState, id } = useInput<string | null>({ source, defaultValue: null });
  const value = field.value as string | null;
  const isPast = value !== null && value !== '' && Date.parse(value) <= Date.now();
  const hint = isPast
    ? 'This time has passed, so the partner will get no tokens.'
    : `Empty: never. In your time zone, ${ZONE}.`;
  return (
    <TextField
      fullWidth
      id={id}
      type="datetime-local"
      label={label}
      value={value === null || value === '' ? '' : toLocal(value)}
      onChange={({ target }) => {
        const at = new Date(target.value);
        field.onChange(target.value === '' || Number.isNaN(at.getTime()) ? null : at.toISOString());
      }}
      onBlur={field.onBlur}
      error={fieldState.error !== undefined}
      helperText={fieldState.error?.message ?? hint}
      slotProps={{ inputLabel: { shrink: true } }}
    />
  );
}

export const emailProblem = (value: string | null): string | undefined =>
  value === null || value === '' || isEmailAddress(value)
    ? undefined
    : 'This is not an e-mail address. Example: tech@partner.example';

export const emptyIsNull = (text: string): string | null => (text === '' ? null : text);

export const tokensPerMinuteProblem = (value: unknown): string | undefined =>
  Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 1_000_000
    ? undefined
    : 'A whole number from 1 to 1,000,000';

/** Arranges fields in two columns if there is room. */
export function FieldGrid({ children }: { children: ReactNode }) {
  return (
    <Box
      sx={{ display: 'grid', gap: 2, gridTemplateColumns: { xs: 'minmax(0, 1fr)', md: 'repeat(2, minmax(0, 1fr))' } }}
    >
      {children}
    </Box>
  );
}
