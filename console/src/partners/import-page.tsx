import DownloadIcon from '@mui/icons-material/Download';
import UploadFileIcon from '@mui/icons-material/UploadFile';
import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Checkbox from '@mui/material/Checkbox';
import FormControlLabel from '@mui/material/FormControlLabel';
import LinearProgress from '@mui/material/LinearProgress';
import Stack from '@mui/material/Stack';
import Table from '@mui/material/Table';
import TableBody from '@mui/material/TableBody';
import TableCell from '@mui/material/TableCell';
import TableContainer from '@mui/material/TableContainer';
import TableHead from '@mui/material/TableHead';
import TableRow from '@mui/material/TableRow';
import Typography from '@mui/material/Typography';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { Link } from 'react-router-dom';
import { ApiError, type FieldError } from '../api.ts';
import { messageOf, Time } from '../feedback.tsx';
import { Page, Section } from '../page.tsx';
import { useMay } from '../permissions.ts';
import { type Import, type ImportAnswer, partnerApi } from './partner-api.ts';
import { passwordsCsv } from './passwords-csv.ts';
import { countOf } from './words.ts';

const MAX_BYTES = 100_000_000;
const POLL_MS = 1_000;
const SHOWN_ERRORS = 200;
/** A wide table scrolls by itself, not the page. */
const WITHIN = { display: 'grid', gridTemplateColumns: 'minmax(0, 1fr)', overflowX: 'auto' } as const;

type Step = 'check' | 'import';

interface Outcome {
  readonly step: Step;
  readonly rows: number;
  readonly created: number;
  readonly failed: number;
  readonly errorCount: number;
  readonly errors: readonly FieldError[];
  readonly isRefused: boolean;
}

const STATES: Record<Import['state'], string> = {
  running: 'Running',
  imported: 'Imported',
  checked: 'Checked only',
  refused: 'Refused',
  interrupted: 'Interrupted, nothing imported',
};

/** `rows.17.username` as a row and a field. */
function placeOf(field: string): { row: string; name: string } {
  const [, row = '–', name = 'whole row'] = /^rows\.(\d+)(?:\.(.+))?$/.exec(field) ?? [];
  return { row, name: row === '–' ? 'whole file' : name };
}

function Errors({ errors, errorCount }: Pick<Outcome, 'errors' | 'errorCount'>) {
  const shown = errors.slice(0, SHOWN_ERRORS);
  return (
    <Stack spacing={1}>
      <TableContainer sx={{ ...WITHIN, maxHeight: 360 }} tabIndex={0}>
        <Table size="small" stickyHeader aria-label="What is wrong with the file">
          <TableHead>
            <TableRow>
              <TableCell>Row</TableCell>
              <TableCell>Field</TableCell>
              <TableCell>What is wrong</TableCell>
            </TableRow>
          </TableHead>
          <TableBody>
            {shown.map(({ field, messages }, i) => {
              const { row, name } = placeOf(field);
              return (
                <TableRow key={`${field}-${String(i)}`}>
                  <TableCell>{row}</TableCell>
                  <TableCell>{name}</TableCell>
                  <TableCell sx={{ overflowWrap: 'anywhere' }}>{messages.join('; ')}</TableCell>
                </TableRow>
              );
            })}
          </TableBody>
        </Table>
      </TableContainer>
      {errorCount > shown.length && (
        <Typography variant="body2" color="textSecondary">
          The first {shown.length.toLocaleString()} of {errorCount.toLocaleString()}.
        </Typography>
      )}
    </Stack>
  );
}

function Result({ outcome }: { outcome: Outcome }) {
  const { step, rows, created, failed, isRefused, errors, errorCount } = outcome;
  const good = countOf(created, 'partner', 'partners');
  const severity = isRefused ? 'error' : failed > 0 ? 'warning' : 'success';
  return (
    <Stack spacing={2} role="status">
      <Alert severity={severity}>
        {isRefused
          ? 'Nothing was imported.'
          : step === 'check'
            ? `Checked: ${good} can be imported.`
            : `${good} imported.`}
        {failed > 0 && ` ${countOf(failed, 'row has', 'rows have')} errors, of ${rows.toLocaleString()}.`}
      </Alert>
      {errors.length > 0 && <Errors errors={errors} errorCount={errorCount} />}
    </Stack>
  );
}

/** The generated passwords, in this page's memory alone until they are downloaded. */
function Passwords({ credentials, onDone }: { credentials: ImportAnswer['credentials']; onDone: () => void }) {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([passwordsCsv(credentials)], { type: 'text/csv;charset=utf-8' }));
    setUrl(made);
    return () => {
      URL.revokeObjectURL(made);
    };
  }, [credentials]);
  return (
    <Alert severity="warning">
      <Typography variant="body2">
        {countOf(credentials.length, 'password was', 'passwords were')} generated. Download them now: nobody can read
        them again. Keep the file where only you can, and delete it when the partners have theirs.
      </Typography>
      <Stack direction="row" spacing={1} useFlexGap sx={{ mt: 1, flexWrap: 'wrap' }}>
        <Button
          color="inherit"
          variant="outlined"
          component="a"
          href={url}
          download="passwords.csv"
          startIcon={<DownloadIcon />}
        >
          Download passwords
        </Button>
        <Button color="inherit" onClick={onDone}>
          I have them, forget them here
        </Button>
      </Stack>
    </Alert>
  );
}

function LastImports() {
  const { data } = useQuery({ queryKey: ['imports'], queryFn: () => partnerApi.imports() });
  if (!data || data.items.length === 0) return null;
  return (
    <Section title="Last imports">
      <TableContainer sx={WITHIN} tabIndex={0}>
        <Table size="small" aria-label="Last imports">
          <TableHead>
            <TableRow>
              <TableCell>When</TableCell>
              <TableCell>Who</TableCell>
              <TableCell>Result</TableCell>
              <TableCell align="right">Rows</TableCell>
              <TableCell align="right">Imported</TableCell>
              <TableCell align="right">With errors</TableCell>
            </TableRow>
          </TableHead>
          <TableBody>
            {data.items.map(({ id, startedAt, by, state, rows, created, failed }) => (
              <TableRow key={id}>
                <TableCell>
                  <Time value={startedAt} />
                </TableCell>
                <TableCell>{by.name ?? 'Former staff'}</TableCell>
                <TableCell>{STATES[state]}</TableCell>
                <TableCell align="right">{rows.toLocaleString()}</TableCell>
                <TableCell align="right">{state === 'imported' ? created.toLocaleString() : '–'}</TableCell>
                <TableCell align="right">{failed.toLocaleString()}</TableCell>
              </TableRow>
            ))}
          </TableBody>
        </Table>
      </TableContainer>
    </Section>
  );
}

/** Brings the partners of an older system over: checks a file first, then imports it. */
export function ImportPage() {
  const mayImport = useMay('operator');
  const input = useRef<HTMLInputElement>(null);
  const queries = useQueryClient();
  const [file, setFile] = useState<File>();
  const [isPartial, setPartial] = useState(false);
  const [running, setRunning] = useState<{ id: string; step: Step }>();
  const [outcome, setOutcome] = useState<Outcome>();
  const [failure, setFailure] = useState<unknown>();
  const [credentials, setCredentials] = useState<ImportAnswer['credentials']>([]);
  const progress = useQuery({
    queryKey: ['imports', running?.id],
    queryFn: () => partnerApi.import(running?.id ?? ''),
    enabled: running !== undefined,
    refetchInterval: POLL_MS,
    // It begins a moment after it was asked for.
    retry: false,
  });

  useEffect(() => {
    if (credentials.length === 0 && running === undefined) return;
    const warn = (event: BeforeUnloadEvent): void => {
      event.preventDefault();
    };
    window.addEventListener('beforeunload', warn);
    return () => {
      window.removeEventListener('beforeunload', warn);
    };
  }, [credentials, running]);

  const run = async (chosen: File, step: Step): Promise<void> => {
    const id = crypto.randomUUID();
    setRunning({ id, step });
    setFailure(undefined);
    try {
      const answer = await partnerApi.sendImport(chosen, { id, dryRun: step === 'check', partial: isPartial });
      setOutcome({ ...answer, step, isRefused: false });
      if (step === 'import') setCredentials(answer.credentials);
    } catch (error) {
      if (error instanceof ApiError && error.code.startsWith('import.') && error.errors.length > 0) {
        const { rows = 0, failed = 0, errorCount = error.errors.length } = error.extension;
        setOutcome({ step, rows, created: 0, failed, errorCount, errors: error.errors, isRefused: true });
      } else {
        setOutcome(undefined);
        setFailure(error);
      }
    } finally {
      setRunning(undefined);
      void queries.invalidateQueries({ queryKey: ['imports'] });
      void queries.invalidateQueries({ queryKey: ['channel-users'] });
      void queries.invalidateQueries({ queryKey: ['overview'] });
    }
  };

  if (!mayImport) {
    return (
      <Alert severity="info" sx={{ mt: 2 }}>
        Operators and admins import partners. Ask one of them.
      </Alert>
    );
  }
  const isChecked = outcome?.step === 'check' && !outcome.isRefused && outcome.created > 0;
  const mayStart = isChecked && (outcome.failed === 0 || isPartial);
  const isTooLarge = file !== undefined && file.size > MAX_BYTES;
  return (
    <Page
      title="Import partners"
      actions={
        <Button component={Link} to="/channel-users">
          Back to the partners
        </Button>
      }
    >
      <Section title="File">
        <Typography>
          CSV with a line of names, or NDJSON, in UTF-8. The columns are <code>username</code>, <code>displayName</code>
          , and whichever of <code>contactEmail</code>, <code>scopes</code>, <code>tokenTtlSeconds</code>,{' '}
          <code>tokensPerMinute</code>, <code>allowedIps</code>, <code>expiresAt</code>, <code>notes</code>,{' '}
          <code>password</code> and <code>passwordHash</code> you have. Entries of a list are separated by spaces. Who
          has no password in the file gets a new one.
        </Typography>
        <Stack direction="row" spacing={2} useFlexGap sx={{ alignItems: 'center', flexWrap: 'wrap' }}>
          <input
            ref={input}
            type="file"
            hidden
            accept=".csv,.ndjson,.jsonl,text/csv,application/x-ndjson"
            onChange={({ currentTarget }) => {
              setFile(currentTarget.files?.[0]);
              setOutcome(undefined);
              setFailure(undefined);
            }}
          />
          <Button
            variant="outlined"
            startIcon={<UploadFileIcon />}
            disabled={running !== undefined}
            onClick={() => input.current?.click()}
          >
            Choose a file
          </Button>
          <Typography sx={{ overflowWrap: 'anywhere' }}>
            {file ? `${file.name}, ${Math.ceil(file.size / 1000).toLocaleString()} kB` : 'No file yet'}
          </Typography>
        </Stack>
        {isTooLarge && <Alert severity="error">The file has more than 100 MB. Split it.</Alert>}
        <FormControlLabel
          control={
            <Checkbox
              checked={isPartial}
              disabled={running !== undefined}
              onChange={(_, checked) => {
                setPartial(checked);
              }}
            />
          }
          label="Import the good rows even if others have errors"
        />
        <Stack direction="row" spacing={2} useFlexGap sx={{ flexWrap: 'wrap' }}>
          <Button
            variant={mayStart ? 'outlined' : 'contained'}
            disabled={!file || isTooLarge || running !== undefined}
            onClick={() => {
              if (file) void run(file, 'check');
            }}
          >
            Check the file
          </Button>
          <Button
            variant="contained"
            disabled={!file || !mayStart || running !== undefined || credentials.length > 0}
            onClick={() => {
              if (file) void run(file, 'import');
            }}
          >
            {isChecked ? `Import ${countOf(outcome.created, 'partner', 'partners')}` : 'Import'}
          </Button>
        </Stack>
        {running && (
          <Box role="status">
            <LinearProgress aria-label={running.step === 'check' ? 'Checking' : 'Importing'} />
            <Typography variant="body2" sx={{ mt: 1 }}>
              {running.step === 'check' ? 'Checking' : 'Importing'}: {(progress.data?.rows ?? 0).toLocaleString()} rows
              read so far. Keep this page open.
            </Typography>
          </Box>
        )}
        {failure !== undefined && <Alert severity="error">{messageOf(failure)}</Alert>}
        {outcome && <Result outcome={outcome} />}
        {credentials.length > 0 && (
          <Passwords
            credentials={credentials}
            onDone={() => {
              setCredentials([]);
            }}
          />
        )}
      </Section>
      <LastImports />
    </Page>
  );
}
