import Button from '@mui/material/Button';
import Table from '@mui/material/Table';
import TableBody from '@mui/material/TableBody';
import TableCell from '@mui/material/TableCell';
import TableContainer from '@mui/material/TableContainer';
import TableHead from '@mui/material/TableHead';
import TableRow from '@mui/material/TableRow';
import Typography from '@mui/material/Typography';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { messageOf, Time } from '../feedback.tsx';
import { Section } from '../page.tsx';
import { useMay } from '../permissions.ts';
import { type Import, partnerApi } from './partner-api.ts';

/** Makes a wide table scroll instead of the page. */
export const WITHIN = { display: 'grid', gridTemplateColumns: 'minmax(0, 1fr)', overflowX: 'auto' } as const;

const STATES: Record<Import['state'], string> = {
  running: 'Running',
  imported: 'Imported',
  checked: 'Checked only',
  refused: 'Refused',
  interrupted: 'Interrupted, nothing imported',
  ended: 'Ended by an admin, nothing imported',
};

function EndImport({ id }: { id: string }) {
  const mayEnd = useMay('admin');
  const queries = useQueryClient();
  const ending = useMutation({
    mutationFn: () => partnerApi.endImport(id),
    onSettled: () => queries.invalidateQueries({ queryKey: ['imports'] }),
  });
  if (!mayEnd) return null;
  return (
    <>
      <Button
        size="small"
        color="error"
        sx={{ ml: 1 }}
        disabled={ending.isPending}
        onClick={() => {
          ending.mutate();
        }}
      >
        Stop it
      </Button>
      {ending.error && (
        <Typography variant="body2" color="error" role="alert">
          {messageOf(ending.error)}
        </Typography>
      )}
    </>
  );
}

/** The last imports and their results. Admins can end a running one, even if someone else began it. */
export function LastImports() {
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
                <TableCell>
                  {STATES[state]}
                  {state === 'running' && <EndImport id={id} />}
                </TableCell>
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
