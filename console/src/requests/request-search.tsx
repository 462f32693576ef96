import SearchIcon from '@mui/icons-material/Search';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import IconButton from '@mui/material/IconButton';
import InputBase from '@mui/material/InputBase';
import { alpha, type Theme } from '@mui/material/styles';
import TextField from '@mui/material/TextField';
import useMediaQuery from '@mui/material/useMediaQuery';
import { type ReactNode, type SyntheticEvent, useState } from 'react';
import { Link, useLocation, useMatch, useNavigate } from 'react-router-dom';
import { requestIdIn } from '../../../src/partner-page/words/request.ts';
import { requestPath } from './request-link.tsx';

/** Tells the page that the text is no request id. The text itself stays in the field, since it may be a password. */
export interface RequestPageState {
  readonly isMalformed?: boolean;
}

/** Whether the field is in the bar. On a narrow screen, an icon in the bar opens a page with the field. */
export const useSearchInBar = (): boolean => useMediaQuery((theme: Theme) => theme.breakpoints.up('md'));

interface Search {
  readonly text: string;
  readonly setText: (text: string) => void;
  readonly submit: (event: SyntheticEvent) => void;
}

/** The text of the field, which follows the request that the page shows. */
function useRequestSearch(): Search {
  const navigate = useNavigate();
  const state = useLocation().state as RequestPageState | null;
  const id = useMatch('/requests/:requestId')?.params.requestId;
  const [shown, setShown] = useState(id);
  const [text, setText] = useState(id ?? '');
  if (shown !== id) {
    setShown(id);
    if (state?.isMalformed !== true) setText(id ?? '');
  }
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (text.trim() === '') return;
    const found = requestIdIn(text);
    if (found !== undefined) setText(found);
    const malformed: RequestPageState = { isMalformed: true };
    void (found === undefined ? navigate('/requests', { state: malformed }) : navigate(requestPath(found)));
  };
  return { text, setText, submit };
}

const FIELD = {
  type: 'search',
  'aria-label': 'Request id',
  autoComplete: 'off',
  autoCapitalize: 'off',
  spellCheck: false,
  enterKeyHint: 'search',
} as const;

function BarField(): ReactNode {
  const { text, setText, submit } = useRequestSearch();
  return (
    <Box
      component="form"
      role="search"
      onSubmit={submit}
      sx={{ display: 'flex', alignItems: 'center', mr: 1, borderRadius: 1, bgcolor: alpha('#ffffff', 0.15) }}
    >
      <InputBase
        value={text}
        onChange={({ target }) => {
          setText(target.value);
        }}
        placeholder="Request id"
        inputProps={FIELD}
        sx={{
          color: 'inherit',
          fontSize: 14,
          pl: 1.5,
          width: { md: 180, lg: 320 },
          '& input::placeholder': { opacity: 0.9 },
          // Black on the bar. The Escape key clears the field, too.
          '& input::-webkit-search-cancel-button': { display: 'none' },
        }}
      />
      <IconButton type="submit" color="inherit" size="small" aria-label="Look up the request">
        <SearchIcon />
      </IconButton>
    </Box>
  );
}

/** The field in the bar of every page that takes a request id. On a narrow screen, a link to {@link RequestField}. */
export function RequestSearch(): ReactNode {
  return useSearchInBar() ? (
    <BarField />
  ) : (
    <IconButton component={Link} to="/requests" color="inherit" aria-label="Look up a request id">
      <SearchIcon />
    </IconButton>
  );
}

/** The field on the page of requests. */
export function RequestField({ autoFocus }: { autoFocus: boolean }): ReactNode {
  const { text, setText, submit } = useRequestSearch();
  return (
    <Box component="form" role="search" onSubmit={submit} sx={{ display: 'flex', gap: 1 }}>
      <TextField
        label="Request id"
        value={text}
        onChange={({ target }) => {
          setText(target.value);
        }}
        autoFocus={autoFocus}
        fullWidth
        slotProps={{ htmlInput: FIELD }}
      />
      <Button type="submit" variant="contained" sx={{ flexShrink: 0 }}>
        Look up
      </Button>
    </Box>
  );
}
