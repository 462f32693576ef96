import Collapse from '@mui/material/Collapse';
import FormControl from '@mui/material/FormControl';
import FormControlLabel from '@mui/material/FormControlLabel';
import FormLabel from '@mui/material/FormLabel';
import MenuItem from '@mui/material/MenuItem';
import Radio from '@mui/material/Radio';
import RadioGroup from '@mui/material/RadioGroup';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { type ReactNode, useId } from 'react';
import type { Delivery } from './partner-api.ts';
import { durationOf } from './words.ts';

const LINK_LIVES = [3_600, 86_400, 259_200, 604_800, 2_592_000];

/** A link, which is safer, with the API's default lifetime of three days. */
export const DEFAULT_DELIVERY: Delivery = { deliver: 'link', linkTtlSeconds: 259_200 };

interface DeliveryChoiceProps {
  readonly value: Delivery;
  readonly onChange: (value: Delivery) => void;
}

/** The label of a radio button, with an explanation. */
export const Choice = ({ title, children }: { title: string; children: ReactNode }): ReactNode => (
  <>
    <Typography component="span" sx={{ display: 'block' }}>
      {title}
    </Typography>
    <Typography component="span" variant="body2" color="textSecondary">
      {children}
    </Typography>
  </>
);

/** A choice of how the password gets to the partner. */
export function DeliveryChoice({ value, onChange }: DeliveryChoiceProps) {
  const labelId = useId();
  const { deliver = 'password', linkTtlSeconds = 259_200 } = value;
  return (
    <FormControl fullWidth>
      <FormLabel id={labelId}>How does the partner get the password?</FormLabel>
      <RadioGroup
        aria-labelledby={labelId}
        value={deliver}
        onChange={(_, chosen) => {
          onChange(chosen === 'link' ? { deliver: 'link', linkTtlSeconds } : { deliver: 'password' });
        }}
      >
        <FormControlLabel
          value="link"
          control={<Radio />}
          sx={{ alignItems: 'flex-start', my: 0.5, '& .MuiRadio-root': { pt: 0.5 } }}
          label={
            <Choice title="By a one-time link">
              You send the link; only the partner sees the password, and only once.
            </Choice>
          }
        />
        <Collapse in={deliver === 'link'} unmountOnExit>
          <TextField
            select
            size="small"
            label="The link works for"
            value={String(linkTtlSeconds)}
            onChange={({ target }) => {
              onChange({ deliver: 'link', linkTtlSeconds: Number(target.value) });
            }}
            sx={{ ml: 4, mt: 1, minWidth: 180 }}
          >
            {LINK_LIVES.map((seconds) => (
              <MenuItem key={seconds} value={String(seconds)}>
                {durationOf(seconds)}
              </MenuItem>
            ))}
          </TextField>
        </Collapse>
        <FormControlLabel
          value="password"
          control={<Radio />}
          sx={{ alignItems: 'flex-start', my: 0.5, '& .MuiRadio-root': { pt: 0.5 } }}
          label={<Choice title="Show it to me now">You pass it on yourself, over a secure channel.</Choice>}
        />
      </RadioGroup>
    </FormControl>
  );
}
