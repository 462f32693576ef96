import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Table from '@mui/material/Table';
import TableBody from '@mui/material/TableBody';
import TableCell from '@mui/material/TableCell';
import TableHead from '@mui/material/TableHead';
import TableRow from '@mui/material/TableRow';
import { useTheme } from '@mui/material/styles';
import { BarChart } from '@mui/x-charts/BarChart';
import { useId, useState } from 'react';
import { Time } from '../feedback.tsx';
import type { Schemas } from '../types.ts';

const hourFormat = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const spanOf = (at: Date): string =>
  `${hourFormat.format(at)} – ${hourFormat.format(new Date(at.getTime() + 3_600_000))}`;

/** Tokens and refusals of each hour as bars, with a table for screen readers. */
export function TokenChart({ hours }: { hours: Schemas['HourDto'][] }) {
  const { palette } = useTheme();
  const tableId = useId();
  const [showsTable, setShowsTable] = useState(false);
  const tokens = hours.map((hour) => hour.tokens);
  const refused = hours.map((hour) => hour.refused);
  return (
    <>
      <Box aria-hidden sx={{ width: '100%' }}>
        <BarChart
          height={260}
          skipAnimation
          disableKeyboardNavigation
          xAxis={[
            {
              scaleType: 'band',
              data: hours.map(({ at }) => new Date(at)),
              valueFormatter: (at: Date, { location }) => (location === 'tick' ? hourFormat.format(at) : spanOf(at)),
              tickLabelInterval: (_, index) => index % 4 === 0,
            },
          ]}
          yAxis={[{ width: 48, min: 0, tickMinStep: 1 }]}
          series={[
            { data: tokens, label: 'Tokens', color: palette.primary.main, stack: 'all' },
            { data: refused, label: 'Refused', color: palette.error.main, stack: 'all' },
          ]}
          margin={{ left: 0, right: 8, top: 8, bottom: 0 }}
          grid={{ horizontal: true }}
        />
      </Box>
      <Button
        size="small"
        aria-expanded={showsTable}
        aria-controls={tableId}
        onClick={() => {
          setShowsTable(!showsTable);
        }}
      >
        {showsTable ? 'Hide the table' : 'Show as a table'}
      </Button>
      <Box id={tableId} hidden={!showsTable} sx={{ maxWidth: 480 }}>
        <Table size="small" aria-label="Tokens of the last 24 hours">
          <TableHead>
            <TableRow>
              <TableCell>Hour from</TableCell>
              <TableCell align="right">Tokens</TableCell>
              <TableCell align="right">Refused</TableCell>
            </TableRow>
          </TableHead>
          <TableBody>
            {showsTable &&
              hours.map((hour) => (
                <TableRow key={hour.at}>
                  <TableCell component="th" scope="row">
                    <Time value={hour.at} />
                  </TableCell>
                  <TableCell align="right">{hour.tokens.toLocaleString()}</TableCell>
                  <TableCell align="right">{hour.refused.toLocaleString()}</TableCell>
                </TableRow>
              ))}
          </TableBody>
        </Table>
      </Box>
    </>
  );
}
