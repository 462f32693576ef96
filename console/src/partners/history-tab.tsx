import Box from '@mui/material/Box';
import Table from '@mui/material/Table';
import TableBody from '@mui/material/TableBody';
import TableCell from '@mui/material/TableCell';
import TableHead from '@mui/material/TableHead';
import TableRow from '@mui/material/TableRow';
import Typography from '@mui/material/Typography';
import { actionSentence } from '../audit-words.ts';
import { Time } from '../feedback.tsx';
import type { AuditEvent } from '../types.ts';
import { PagedList } from './paged-list.tsx';
import { type ChannelUser, partnerApi } from './partner-api.ts';
import { FIELD_WORDS, wordsOf } from './partner-fields.tsx';
import { durationOf } from './words.ts';

const FIELDS: Record<string, string> = {
  ...FIELD_WORDS,
  label: 'Password',
  fingerprint: 'Fingerprint',
  retireOthers: 'The others end',
};
/** Technical fields that are not shown. */
const UNSHOWN = new Set(['createdWith', 'credentialId', 'descendants', 'epoch', 'handoverId', 'replaces']);

function textOf(value: unknown): string {
  if (value === null || value === undefined || value === '') return '–';
  if (Array.isArray(value)) return value.length === 0 ? '–' : value.join(', ');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

const ISO = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;
const isRetirement = (value: unknown): value is { seconds: number } =>
  typeof value === 'object' && value !== null && 'seconds' in value && typeof value.seconds === 'number';

function Value({ field, value }: { field: string; value: unknown }) {
  if (typeof value === 'string' && ISO.test(value)) return <Time value={value} />;
  if (field === 'retireOthers' && isRetirement(value)) return <>{durationOf(value.seconds)} after the first use</>;
  return <>{wordsOf(field, value) ?? textOf(value)}</>;
}

function Changes({ action, changes }: AuditEvent) {
  const shown = Object.entries(changes).filter(
    ([field, [before, after]]) => !UNSHOWN.has(field) && !(textOf(before) === '–' && textOf(after) === '–'),
  );
  if (shown.length === 0) return null;
  return (
    <Box sx={{ overflowX: 'auto', mt: 1 }}>
      <Table
        size="small"
        sx={{ maxWidth: 800, tableLayout: 'fixed', '& td, & th': { px: 1, overflowWrap: 'anywhere' } }}
      >
        <TableHead>
          <TableRow>
            <TableCell>What</TableCell>
            <TableCell>Before</TableCell>
            <TableCell>After</TableCell>
          </TableRow>
        </TableHead>
        <TableBody>
          {shown.map(([field, [before, after]]) => (
            <TableRow key={field}>
              <TableCell component="th" scope="row">
                {field === 'expiresAt' && !action.startsWith('channel-user.') ? 'Expires' : (FIELDS[field] ?? field)}
              </TableCell>
              <TableCell>
                <Value field={field} value={before} />
              </TableCell>
              <TableCell>
                <Value field={field} value={after} />
              </TableCell>
            </TableRow>
          ))}
        </TableBody>
      </Table>
    </Box>
  );
}

function Event({ event }: { event: AuditEvent }) {
  const { actor, action, at, reason, address } = event;
  return (
    <>
      <Box sx={{ display: 'flex', flexWrap: 'wrap', columnGap: 2 }}>
        <Typography component="h3" variant="subtitle1" sx={{ flex: '1 1 240px' }}>
          <span title={action}>{actionSentence(action, actor)}</span>
        </Typography>
        <Typography variant="body2" component="span">
          <Time value={at} seconds />
        </Typography>
      </Box>
      {reason !== null && <Typography variant="body2">Reason: {reason}</Typography>}
      {address !== null && (
        <Typography variant="body2" color="textSecondary">
          from {address}
        </Typography>
      )}
      <Changes {...event} />
    </>
  );
}

/** The audit events about this partner. */
export function HistoryTab({ partner: { id } }: { partner: ChannelUser }) {
  return (
    <PagedList
      queryKey={['channel-users', 'audit', id]}
      ask={(cursor) => partnerApi.audit(id, cursor)}
      title="Who changed what"
      what="the history"
      nothing="Nothing is recorded for this partner."
    >
      {(event) => <Event event={event} />}
    </PagedList>
  );
}
