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
import { LIMIT_WORDS } from './limits.ts';
import { PagedList } from './paged-list.tsx';
import { type ChannelUser, partnerApi } from './partner-api.ts';
import { durationOf } from './words.ts';

const FIELDS: Record<string, string> = {
  ...LIMIT_WORDS,
  username: 'Username',
  status: 'State',
  label: 'Password',
  fingerprint: 'Fingerprint',
};
/** Numbers that tell staff nothing. */
const UNSHOWN = new Set(['credentialId', 'epoch', 'handoverId']);

function textOf(value: unknown): string {
  if (value === null || value === undefined || value === '') return '–';
  if (Array.isArray(value)) return value.length === 0 ? '–' : value.join(', ');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

const ISO = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;
function Value({ field, value }: { field: string; value: unknown }) {
  if (field === 'tokenTtlSeconds' && typeof value === 'number') return <>{durationOf(value)}</>;
  return typeof value === 'string' && ISO.test(value) ? <Time value={value} /> : <>{textOf(value)}</>;
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
                {field === 'expiresAt' && !action.startsWith('channel-user.') ? 'Ends' : (FIELDS[field] ?? field)}
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
          <Time value={at} />
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

/** Who changed what about this partner, from the audit trail. */
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
