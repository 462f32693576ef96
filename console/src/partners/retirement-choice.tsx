import FormControl from '@mui/material/FormControl';
import FormControlLabel from '@mui/material/FormControlLabel';
import FormLabel from '@mui/material/FormLabel';
import MenuItem from '@mui/material/MenuItem';
import Radio from '@mui/material/Radio';
import RadioGroup from '@mui/material/RadioGroup';
import TextField from '@mui/material/TextField';
import { type ReactNode, useId } from 'react';
import { Choice } from './delivery-choice.tsx';

/** When the old passwords end. */
export interface Retirement {
  readonly after: 'first-use' | 'now';
  /** `null` leaves them as they are, which only `now` allows. */
  readonly seconds: number | null;
}

/** The API's default, under which a partner always has a password that works. */
export const DEFAULT_RETIREMENT: Retirement = { after: 'first-use', seconds: 86_400 };

type Option = readonly [seconds: number | null, words: string];
const LATER: readonly Option[] = [
  [3_600, 'an hour later'],
  [86_400, 'a day later (usual)'],
  [604_800, 'a week later'],
  [2_592_000, '30 days later'],
];
const OPTIONS: Record<Retirement['after'], readonly Option[]> = {
  'first-use': [[0, 'at once'], ...LATER],
  now: [[0, 'at once'], ...LATER, [null, 'only by its own expiry, or when you revoke it']],
};

interface RetirementChoiceProps {
  readonly value: Retirement;
  readonly onChange: (value: Retirement) => void;
  readonly areSeveral: boolean;
  readonly error: string | undefined;
}

/** A choice of when the old passwords end. */
export function RetirementChoice({ value, onChange, areSeveral, error }: RetirementChoiceProps) {
  const labelId = useId();
  const old = areSeveral ? 'old ones' : 'old one';
  const overlap = (after: Retirement['after']): ReactNode =>
    value.after === after && (
      <TextField
        select
        size="small"
        label={`The ${old} ${areSeveral ? 'end' : 'ends'}`}
        value={String(value.seconds)}
        onChange={({ target }) => {
          onChange({ after, seconds: target.value === 'null' ? null : Number(target.value) });
        }}
        error={error !== undefined}
        helperText={
          error ??
          (value.seconds === 0
            ? 'It gets no new tokens from then on. Its existing tokens keep working.'
            : 'This never extends an expiry.')
        }
        sx={{ ml: 4, mt: 1, minWidth: 220, alignSelf: 'flex-start' }}
      >
        {OPTIONS[after].map(([seconds, words]) => (
          <MenuItem key={String(seconds)} value={String(seconds)}>
            {words}
          </MenuItem>
        ))}
      </TextField>
    );
  return (
    <FormControl fullWidth>
      <FormLabel id={labelId}>When {areSeveral ? 'do the old ones end' : 'does the old one end'}?</FormLabel>
      <RadioGroup
        aria-labelledby={labelId}
        value={value.after}
        onChange={(_, chosen) => {
          if (chosen === 'now') onChange({ ...value, after: chosen });
          else onChange({ ...DEFAULT_RETIREMENT, ...(value.seconds !== null && { seconds: value.seconds }) });
        }}
      >
        <FormControlLabel
          value="first-use"
          control={<Radio />}
          sx={{ alignItems: 'flex-start', my: 0.5, '& .MuiRadio-root': { pt: 0.5 } }}
          label={
            <Choice title="After the first use of the new one">
              Until the partner’s software has used the new one, the {old} {areSeveral ? 'go' : 'goes'} on.
            </Choice>
          }
        />
        {overlap('first-use')}
        <FormControlLabel
          value="now"
          control={<Radio />}
          sx={{ alignItems: 'flex-start', my: 0.5, '& .MuiRadio-root': { pt: 0.5 } }}
          label={<Choice title="Counted from now">Whether or not the partner has the new one by then.</Choice>}
        />
        {overlap('now')}
      </RadioGroup>
    </FormControl>
  );
}
