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
import { Fragment, useRef, useState } from 'react';
import { Link } from 'react-router-dom';
import { ApiError, type FieldError } from '../api.ts';
import { messageOf } from '../feedback.tsx';
import { useUnsaved } from '../leave-guard.tsx';
import { Page, Section } from '../page.tsx';
import { randomId } from '../random-id.ts';
import { DEFAULT_DELIVERY, DeliveryChoice } from './delivery-choice.tsx';
import { LastImports, WITHIN } from './import-list.tsx';
import { IssuedFile } from './issued-file.tsx';
import { type ImportResult, partnerApi } from './partner-api.ts';
import { LIMIT_NAMES } from './partner-fields.tsx';
import { countOf } from './words.ts';

const MAX_BYTES = 100_000_000;
const POLL_MS = 1_000;
const SHOWN_ERRORS = 200;

const OPTIONAL_NAMES = [...LIMIT_NAMES.filter((name) => name !== 'displayName'), 'password', 'passwordHash'];
const OPTIONAL_COLUMNS = OPTIONAL_NAMES.map((name, i) => (
  <Fragment key={name}>
    {i > 0 && (i === OPTIONAL_NAMES.length - 1 ? ' and ' : ', ')}
    <code>{name}</code>
  </Fragment>
));

type Step = 'check' | 'import';

interface Outcome {
  readonly step: Step;
  readonly rows: number;
  readonly created: number;
  readonly failed: number;
  readonly errorCount: number;
  readonly errors: readonly FieldError[];
  readonly warnings: readonly string[];
  readonly isRefused: boolean;
}

/** Splits `rows.17.username` into a row and a field. */
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
  const { step, rows, created, failed, isRefused, errors, errorCount, warnings } = outcome;
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
      {warnings.map((warning) => (
        <Alert key={warning} severity="warning">
          {warning}
        </Alert>
      ))}
      {errors.length > 0 && <Errors errors={errors} errorCount={errorCount} />}
    </Stack>
  );
}

/** Imports the partners of an older system: checks a file first, then imports it. */
export function ImportPage() {
  const input = useRef<HTMLInputElement>(null);
  const queries = useQueryClient();
  const [file, setFile] = useState<File>();
  const [isPartial, setPartial] = useState(false);
  const [delivery, setDelivery] = useState(DEFAULT_DELIVERY);
  const [running, setRunning] = useState<{ id: string; step: Step }>();
  const [outcome, setOutcome] = useState<Outcome>();
  const [failure, setFailure] = useState<unknown>();
  const [credentials, setCredentials] = useState<ImportResult['credentials']>([]);
  const progress = useQuery({
    queryKey: ['imports', running?.id],
    queryFn: () => partnerApi.import(running?.id ?? ''),
    enabled: running !== undefined,
    refetchInterval: POLL_MS,
    // The import is known to the API only a moment after it was requested.
    retry: false,
  });

  useUnsaved(credentials.length > 0, 'secret', 'The list of new passwords or links');
  useUnsaved(running?.step === 'import', 'secret', 'The list of new passwords or links from this import');

  const run = async (chosen: File, step: Step): Promise<void> => {
    const id = randomId();
    setRunning({ id, step });
    setFailure(undefined);
    try {
      const answer = await partnerApi.sendImport(chosen, {
        id,
        dryRun: step === 'check',
        partial: isPartial,
        ...delivery,
      });
      setOutcome({ ...answer, step, isRefused: false });
      if (step === 'import') setCredentials(answer.credentials);
    } catch (error) {
      if (error instanceof ApiError && error.code.startsWith('import.') && error.errors.length > 0) {
        const { rows = 0, failed = 0, errorCount = error.errors.length } = error.extension;
        setOutcome({ step, rows, created: 0, failed, errorCount, errors: error.errors, warnings: [], isRefused: true });
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

  const isChecked = outcome?.step === 'check' && !outcome.isRefused && outcome.created > 0;
  const mayStart = isChecked && (outcome.failed === 0 || isPartial);
  const isTooLarge = file !== undefined && file.size > MAX_BYTES;
  return (
    <Page
      title="Import partners"
      actions={
        <Button component={Link} to="/channel-users">
          Back to partners
        </Button>
      }
    >
      <Section title="File">
        <Typography>
          A CSV file from a spreadsheet, with a header line, or NDJSON. The columns are <code>username</code>,{' '}
          <code>displayName</code>, and whichever of {OPTIONAL_COLUMNS} you have. Separate entries of a list by spaces.
          Partners without a password in the file get a new one.
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
          <Button component="a" href="/admin/channel-users/import/template" download startIcon={<DownloadIcon />}>
            Download a template
          </Button>
          <Typography sx={{ overflowWrap: 'anywhere' }}>
            {file ? `${file.name}, ${Math.ceil(file.size / 1000).toLocaleString()} kB` : 'No file yet'}
          </Typography>
        </Stack>
        {isTooLarge && <Alert severity="error">The file is larger than 100 MB. Split it.</Alert>}
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
          label="Import the valid rows even if others have errors"
        />
        <DeliveryChoice value={delivery} onChange={setDelivery} />
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
          <IssuedFile
            issued={credentials}
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
