import WarningIcon from '@mui/icons-material/ErrorOutlined';
import Autocomplete from '@mui/material/Autocomplete';
import Box from '@mui/material/Box';
import Chip from '@mui/material/Chip';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useState } from 'react';
import { useInput } from 'react-admin';

interface ChipOption {
  readonly name: string;
  readonly description: string | null;
}

interface ChipsInputProps {
  readonly source: string;
  readonly label: string;
  readonly helperText: string;
  readonly placeholder?: string;
  readonly options?: readonly ChipOption[];
  readonly isLoading?: boolean;
  /** Why an entry is not accepted, or undefined. */
  readonly problemOf: (entry: string) => string | undefined;
  /** A remark about an accepted entry, shown in its chip. */
  readonly remarkOf?: (entry: string) => string | undefined;
  readonly normalize?: (entry: string) => string;
}

const SEPARATORS = /[\s,;]+/;

/**
 * A list of short texts. Each is checked while it is typed, and becomes a chip with Enter, a comma or on leaving. An
 * invalid text becomes a marked chip, which keeps the input but prevents sending the form.
 */
export function ChipsInput({ source, label, helperText, options = [], problemOf, remarkOf, ...rest }: ChipsInputProps) {
  const { placeholder, isLoading = false, normalize = (entry: string) => entry } = rest;
  const [text, setText] = useState('');
  const { field, fieldState, id } = useInput<string[]>({
    source,
    defaultValue: [],
    validate: (entries: unknown) =>
      Array.isArray(entries) ? entries.map((entry) => problemOf(String(entry))).find(Boolean) : undefined,
  });
  const entries = (field.value as string[] | null) ?? [];
  const add = (added: readonly string[]): void => {
    const all = [...entries, ...added.map(normalize)];
    field.onChange([...new Set(all.filter((entry) => entry !== ''))]);
  };

  const onInputChange = (typed: string): void => {
    const parts = typed.split(SEPARATORS);
    if (parts.length > 1) {
      add(parts.slice(0, -1));
      setText(parts.at(-1) ?? '');
    } else {
      setText(typed);
    }
  };
  const onBlur = (): void => {
    if (text.trim() !== '') add([text.trim()]);
    setText('');
    field.onBlur();
  };

  const whileTyping = text === '' ? undefined : problemOf(normalize(text));
  const chipProblem = entries.map(problemOf).find(Boolean);
  const error = chipProblem ?? fieldState.error?.message;
  return (
    <Autocomplete
      multiple
      freeSolo
      fullWidth
      disableCloseOnSelect
      id={id}
      options={options.map(({ name }) => name)}
      loading={isLoading}
      value={entries}
      inputValue={text}
      filterSelectedOptions
      onInputChange={(_, typed, cause) => {
        if (cause === 'input') onInputChange(typed);
        else if (cause !== 'blur') setText('');
      }}
      onChange={(_, next) => {
        field.onChange([...new Set(next.map((entry) => normalize(entry.trim())).filter((entry) => entry !== ''))]);
      }}
      onBlur={onBlur}
      renderOption={({ key, ...props }, name) => (
        <li key={key} {...props}>
          <Box>
            <Typography component="span" sx={{ fontFamily: 'monospace' }}>
              {name}
            </Typography>
            <Typography variant="body2" color="textSecondary">
              {options.find((option) => option.name === name)?.description}
            </Typography>
          </Box>
        </li>
      )}
      renderValue={(values, getItemProps) =>
        values.map((entry, index) => {
          const { key, ...props } = getItemProps({ index });
          const problem = problemOf(entry);
          const remark = remarkOf?.(entry);
          return (
            <Chip
              key={key}
              {...props}
              size="small"
              variant="outlined"
              label={problem === undefined && remark !== undefined ? `${entry} (${remark})` : entry}
              {...(problem !== undefined && { color: 'error', icon: <WarningIcon titleAccess="Not valid" /> })}
              {...(problem === undefined && remark !== undefined && { color: 'warning' })}
            />
          );
        })
      }
      renderInput={(params) => (
        <TextField
          {...params}
          label={label}
          placeholder={entries.length === 0 ? placeholder : undefined}
          error={error !== undefined}
          helperText={error ?? whileTyping ?? helperText}
          slotProps={{ ...params.slotProps, formHelperText: { 'aria-live': 'polite' } as object }}
        />
      )}
    />
  );
}
