import ClearIcon from '@mui/icons-material/Clear';
import FilterIcon from '@mui/icons-material/FilterList';
import SearchIcon from '@mui/icons-material/Search';
import Autocomplete from '@mui/material/Autocomplete';
import Badge from '@mui/material/Badge';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import IconButton from '@mui/material/IconButton';
import InputAdornment from '@mui/material/InputAdornment';
import MenuItem from '@mui/material/MenuItem';
import TextField from '@mui/material/TextField';
import useMediaQuery from '@mui/material/useMediaQuery';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { useListContext } from 'react-admin';
import { type ChannelUserStatus, partnerApi } from './partner-api.ts';
import { EXACT_FILTERS, type ExactFilter, FIELD_WORDS } from './partner-fields.tsx';
import { STATUS_WORDS } from './words.ts';

/** The API's filters of the list of channel users. */
export interface PartnerFilter extends Partial<Record<ExactFilter, string>> {
  q?: string;
  status?: ChannelUserStatus;
  scope?: string;
  failing?: true;
  expiringWithinDays?: number;
  silentForDays?: number;
}

const TYPING_MS = 250;
const DAYS = [7, 30, 90, 365];

/** Searches while the person types. The list is loaded when the typing pauses. */
function SearchBox({ value, onChange }: { value: string; onChange: (q: string) => void }) {
  const [text, setText] = useState(value);
  const sent = useRef(value);
  const timer = useRef<number>(undefined);
  // A link or "Clear all" changed the filter from outside.
  useEffect(() => {
    if (value !== sent.current) {
      sent.current = value;
      setText(value);
    }
  }, [value]);
  useEffect(
    () => () => {
      window.clearTimeout(timer.current);
    },
    [],
  );
  const type = (typed: string, delay = TYPING_MS): void => {
    setText(typed);
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => {
      sent.current = typed.trim();
      onChange(sent.current);
    }, delay);
  };
  return (
    <TextField
      type="search"
      size="small"
      label="Search"
      placeholder="Name, username or e-mail"
      value={text}
      onChange={({ target }) => {
        type(target.value);
      }}
      sx={{ flex: '1 1 220px', minWidth: 0, '& input::-webkit-search-cancel-button': { display: 'none' } }}
      slotProps={{
        htmlInput: { maxLength: 200 },
        input: {
          startAdornment: (
            <InputAdornment position="start">
              <SearchIcon fontSize="small" />
            </InputAdornment>
          ),
          endAdornment: text !== '' && (
            <InputAdornment position="end">
              <IconButton
                size="small"
                edge="end"
                aria-label="Clear search"
                onClick={() => {
                  type('', 0);
                }}
              >
                <ClearIcon fontSize="small" />
              </IconButton>
            </InputAdornment>
          ),
        },
      }}
    />
  );
}

/** Filters by exactly what is typed, on Enter or when the field is left. */
function ExactBox({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  const [text, setText] = useState(value);
  useEffect(() => {
    setText(value);
  }, [value]);
  const apply = (): void => {
    if (text.trim() !== value) onChange(text.trim());
  };
  return (
    <TextField
      size="small"
      label={label}
      placeholder="Any"
      value={text}
      onChange={({ target }) => {
        setText(target.value);
      }}
      onBlur={apply}
      onKeyDown={({ key }) => {
        if (key === 'Enter') apply();
      }}
      sx={{ flex: '1 1 130px', minWidth: 0, maxWidth: { sm: 200 } }}
      slotProps={{ inputLabel: { shrink: true }, htmlInput: { dir: 'auto', maxLength: 128 } }}
    />
  );
}

interface ChoiceProps {
  readonly label: string;
  readonly value: string | number | undefined;
  readonly any: string;
  readonly choices: readonly (readonly [value: string | number, words: string])[];
  readonly onChange: (value: string) => void;
}

function Choice({ label, value = '', any, choices, onChange }: ChoiceProps) {
  // A link may set a value that is not among the choices.
  const all =
    value === '' || choices.some(([each]) => each === value) ? choices : [...choices, [value, String(value)] as const];
  return (
    <TextField
      select
      size="small"
      label={label}
      value={String(value)}
      onChange={({ target }) => {
        onChange(target.value);
      }}
      sx={{ flex: '1 1 130px', minWidth: 0, maxWidth: { sm: 200 } }}
      slotProps={{ inputLabel: { shrink: true }, select: { displayEmpty: true } }}
    >
      <MenuItem value="">{any}</MenuItem>
      {all.map(([each, words]) => (
        <MenuItem key={each} value={String(each)}>
          {words}
        </MenuItem>
      ))}
    </TextField>
  );
}

const inDays = (before: string) => DAYS.map((days) => [days, `${before} ${String(days)} days`] as const);
const WITHIN = inDays('within');
const FOR = inDays('for');
const STATES = Object.entries(STATUS_WORDS);

/** Filters of the list, stored in its URL. On a phone, a button shows all but the search. */
export function PartnerFilters() {
  const { setFilters, ...list } = useListContext();
  const filter = list.filterValues as PartnerFilter;
  const isPhone = useMediaQuery('(max-width:599.95px)');
  const [isOpen, setOpen] = useState(false);
  const { data: scopes } = useQuery({ queryKey: ['scopes'], queryFn: partnerApi.scopes, staleTime: 60_000 });

  const set = (changed: { [Name in keyof PartnerFilter]: PartnerFilter[Name] | undefined }): void => {
    const next = Object.entries<unknown>({ ...filter, ...changed }).filter(
      ([, value]) => value !== undefined && value !== '',
    );
    setFilters(Object.fromEntries(next), {}, false);
  };
  const number = (text: string): number | undefined => (text === '' ? undefined : Number(text));
  const { q = '', ...others } = filter;
  const count = Object.keys(others).length;

  return (
    <Box
      role="search"
      aria-label="Filter the partners"
      sx={{ display: 'flex', flexWrap: 'wrap', gap: 1.5, pt: 2, pb: 1, px: 2, width: '100%' }}
    >
      <SearchBox
        value={q}
        onChange={(text) => {
          set({ q: text });
        }}
      />
      {isPhone && (
        <Button
          aria-expanded={isOpen}
          startIcon={
            <Badge badgeContent={count} color="primary">
              <FilterIcon />
            </Badge>
          }
          onClick={() => {
            setOpen(!isOpen);
          }}
        >
          Filters
        </Button>
      )}
      {(!isPhone || isOpen) && (
        <>
          <Choice
            label="State"
            value={filter.status}
            any="Any"
            choices={STATES}
            onChange={(status) => {
              set({ status: status === '' ? undefined : (status as ChannelUserStatus) });
            }}
          />
          <Autocomplete
            freeSolo
            size="small"
            options={scopes?.items.map(({ name }) => name) ?? []}
            value={filter.scope ?? null}
            onChange={(_, scope) => {
              set({ scope: scope?.trim().toLowerCase() });
            }}
            sx={{ flex: '1 1 160px', minWidth: 0, maxWidth: { sm: 220 } }}
            renderInput={(params) => (
              <TextField
                {...params}
                label="Scope"
                placeholder="Any"
                slotProps={{ ...params.slotProps, inputLabel: { ...params.slotProps.inputLabel, shrink: true } }}
              />
            )}
          />
          {EXACT_FILTERS.map((name) => (
            <ExactBox
              key={name}
              label={FIELD_WORDS[name]}
              value={filter[name] ?? ''}
              onChange={(value) => {
                set({ [name]: value });
              }}
            />
          ))}
          <Choice
            label="Sign-ins"
            value={filter.failing ? 'failing' : undefined}
            any="Any"
            choices={[['failing', 'failing now']]}
            onChange={(value) => {
              set({ failing: value === '' ? undefined : true });
            }}
          />
          <Choice
            label="Expiring"
            value={filter.expiringWithinDays}
            any="Any time"
            choices={WITHIN}
            onChange={(days) => {
              set({ expiringWithinDays: number(days) });
            }}
          />
          <Choice
            label="Silent"
            value={filter.silentForDays}
            any="Any"
            choices={FOR}
            onChange={(days) => {
              set({ silentForDays: number(days) });
            }}
          />
          {(count > 0 || q !== '') && (
            <Button
              startIcon={<ClearIcon />}
              onClick={() => {
                setFilters({}, {}, false);
              }}
            >
              Clear all
            </Button>
          )}
        </>
      )}
    </Box>
  );
}
