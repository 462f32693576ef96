import CloseIcon from '@mui/icons-material/ExpandLess';
import OpenIcon from '@mui/icons-material/ExpandMore';
import Box from '@mui/material/Box';
import IconButton from '@mui/material/IconButton';
import MenuItem from '@mui/material/MenuItem';
import Stack from '@mui/material/Stack';
import type { SxProps, Theme } from '@mui/material/styles';
import Table from '@mui/material/Table';
import TableBody from '@mui/material/TableBody';
import TableCell from '@mui/material/TableCell';
import TableHead from '@mui/material/TableHead';
import TableRow from '@mui/material/TableRow';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import { Fragment, type ReactNode, useId, useState } from 'react';
import {
  callsExplanation,
  type CallTotal,
  classesOf,
  DEFAULT_HOURS,
  groupsOf,
  noCalls,
  routeName,
  SPANS,
  type StatusClass,
  sumOf,
} from '../../../src/partner-page/words/calls.ts';
import { dayOf } from '../../../src/partner-page/words/time.ts';
import { mayRetry } from '../api.ts';
import { Time } from '../feedback.tsx';
import { Words } from '../text.tsx';
import { Loaded, Nothing } from './loading-states.tsx';
import { type Calls, type ChannelUser, partnerApi } from './partner-api.ts';

/** The numbers of a row: one for each class, then all. */
function Numbers({ items, classes }: { items: readonly CallTotal[]; classes: readonly StatusClass[] }) {
  return (
    <>
      {classes.map((statusClass) => {
        const count = sumOf(items, statusClass);
        return (
          <TableCell key={statusClass} align="right" sx={count === 0 ? { color: 'text.secondary' } : undefined}>
            {count.toLocaleString()}
          </TableCell>
        );
      })}
      <TableCell align="right" sx={{ fontWeight: 600 }}>
        {sumOf(items).toLocaleString()}
      </TableCell>
    </>
  );
}

const TABLE: SxProps<Theme> = {
  maxWidth: 800,
  fontVariantNumeric: 'tabular-nums',
  '& td, & th': { px: { xs: 0.75, sm: 1.5 } },
  '& th[scope=row]': { width: '100%', overflowWrap: 'anywhere' },
};

interface CallTableProps {
  readonly title: string;
  /** Heading of the first column. */
  readonly what: string;
  readonly classes: readonly StatusClass[];
  /** The bodies of the table. */
  readonly children: ReactNode;
}

function CallTable({ title, what, classes, children }: CallTableProps) {
  return (
    <Box sx={{ overflowX: 'auto' }}>
      <Typography variant="subtitle1" component="h3" sx={{ mb: 0.5 }}>
        {title}
      </Typography>
      <Table size="small" aria-label={title} sx={TABLE}>
        <TableHead>
          <TableRow>
            <TableCell>{what}</TableCell>
            {[...classes, 'All'].map((name) => (
              <TableCell key={name} align="right">
                {name}
              </TableCell>
            ))}
          </TableRow>
        </TableHead>
        {children}
      </Table>
    </Box>
  );
}

/** A call's method and route. A long route breaks before a slash. */
const Route = ({ name }: { name: string }) => (
  <code>
    {name.split(/(?=\/)/).map((part, index) => (
      <Fragment key={index}>
        {index > 0 && <wbr />}
        {part}
      </Fragment>
    ))}
  </code>
);

interface RouteRowsProps {
  readonly items: readonly CallTotal[];
  readonly classes: readonly StatusClass[];
  readonly isIndented?: boolean;
}

const RouteRows = ({ items, classes, isIndented = false }: RouteRowsProps): ReactNode =>
  groupsOf(items, routeName).map((route) => (
    <TableRow key={route.key}>
      <TableCell component="th" scope="row" sx={isIndented ? { '&&': { pl: { xs: 2, sm: 5 } } } : undefined}>
        <Route name={route.key} />
      </TableCell>
      <Numbers items={route.items} classes={classes} />
    </TableRow>
  ));

/** The calls of an hour. Its routes are shown on demand. */
function HourRows({ hour, dayId, items, classes }: RouteRowsProps & { readonly hour: string; readonly dayId: string }) {
  const [isOpen, setOpen] = useState(false);
  const buttonId = useId();
  const hourId = useId();
  return (
    <>
      <TableRow>
        <TableCell component="th" scope="row" sx={{ '&&': { pl: 0 } }}>
          <IconButton
            id={buttonId}
            size="small"
            aria-expanded={isOpen}
            aria-label="Routes of"
            aria-labelledby={`${buttonId} ${hourId} ${dayId}`}
            onClick={() => {
              setOpen(!isOpen);
            }}
          >
            {isOpen ? <CloseIcon fontSize="small" /> : <OpenIcon fontSize="small" />}
          </IconButton>{' '}
          <span id={hourId}>
            <Time value={hour} clock />
          </span>
        </TableCell>
        <Numbers items={items} classes={classes} />
      </TableRow>
      {isOpen && <RouteRows items={items} classes={classes} isIndented />}
    </>
  );
}

/** The calls of a day, hour by hour. */
function Day({ day, items, classes }: { day: string; items: Calls['items']; classes: readonly StatusClass[] }) {
  const dayId = useId();
  return (
    <TableBody>
      <TableRow>
        <TableCell component="th" scope="rowgroup" colSpan={classes.length + 2} id={dayId} sx={{ fontWeight: 600 }}>
          {day}
        </TableCell>
      </TableRow>
      {groupsOf(items, ({ hour }) => hour).map((hour) => (
        <HourRows key={hour.key} hour={hour.key} dayId={dayId} items={hour.items} classes={classes} />
      ))}
    </TableBody>
  );
}

function CallTables({ totals, items }: Calls) {
  const classes = classesOf(totals);
  return (
    <>
      <Typography variant="body2" color="textSecondary">
        {callsExplanation(totals)}
      </Typography>
      <CallTable title="By route" what="Route" classes={classes}>
        <TableBody>
          <RouteRows items={totals} classes={classes} />
          <TableRow>
            <TableCell component="th" scope="row" sx={{ fontWeight: 600 }}>
              All
            </TableCell>
            <Numbers items={totals} classes={classes} />
          </TableRow>
        </TableBody>
      </CallTable>
      <CallTable title="By hour" what="Hour from" classes={classes}>
        {groupsOf(items, ({ hour }) => dayOf(hour)).map((day) => (
          <Day key={day.key} day={day.key} items={day.items} classes={classes} />
        ))}
      </CallTable>
    </>
  );
}

/** The partner's calls by hour, route and class of the status. */
export function CallsTab({ partner: { id } }: { partner: ChannelUser }) {
  const [hours, setHours] = useState(DEFAULT_HOURS);
  const query = useQuery({
    queryKey: ['channel-users', 'calls', id, hours],
    queryFn: ({ signal }) => partnerApi.calls(id, hours, signal),
    retry: mayRetry,
  });
  return (
    <Stack spacing={2} useFlexGap>
      <Stack direction="row" spacing={2} useFlexGap sx={{ alignItems: 'center', flexWrap: 'wrap' }}>
        <Typography variant="h6" component="h2" sx={{ flexGrow: 1 }}>
          Calls
        </Typography>
        <TextField
          select
          label="Period"
          value={hours}
          onChange={({ target }) => {
            setHours(Number(target.value));
          }}
          sx={{ minWidth: 180 }}
        >
          {SPANS.map(([span, words]) => (
            <MenuItem key={span} value={span}>
              {words}
            </MenuItem>
          ))}
        </TextField>
      </Stack>
      <Loaded query={query} what="the calls" rows={6}>
        {(calls) =>
          calls.items.length === 0 ? (
            <Nothing>
              <Words text={noCalls(calls.from)} />
            </Nothing>
          ) : (
            <CallTables {...calls} />
          )
        }
      </Loaded>
    </Stack>
  );
}
