import CloseIcon from '@mui/icons-material/Close';
import DownloadIcon from '@mui/icons-material/Download';
import Box from '@mui/material/Box';
import Chip from '@mui/material/Chip';
import Drawer from '@mui/material/Drawer';
import IconButton from '@mui/material/IconButton';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import useMediaQuery from '@mui/material/useMediaQuery';
import { useQuery } from '@tanstack/react-query';
import { type ReactNode, useId, useState } from 'react';
import {
  AutocompleteInput,
  Button,
  DataTable,
  DateTimeInput,
  FilterButton,
  List,
  SimpleList,
  TextInput,
  TopToolbar,
  useListContext,
} from 'react-admin';
import { api, type Query, withQuery } from './api.ts';
import { actionTitle } from './audit-words.ts';
import { Time } from './feedback.tsx';
import { Nothing } from './partners/loading-states.tsx';
import { useMay } from './permissions.ts';
import type { AuditEvent, Schemas } from './types.ts';

const choicesOf = (actions: string[]): { id: string; name: string }[] =>
  actions
    .map((action) => ({ id: action, name: actionTitle(action) }))
    .sort((one, other) => one.name.localeCompare(other.name));

/** The actions that there are; where they cannot be had, the field is free text. */
function ActionInput(props: { source: string; label?: string; alwaysOn?: boolean }): ReactNode {
  const { data, isPending, isError } = useQuery({
    queryKey: ['audit-events', 'actions'],
    queryFn: async () => (await api<Schemas['AuditActionsDto']>('GET', '/admin/audit-events/actions')).data.items,
  });
  if (isError) return <TextInput {...props} helperText={false} />;
  return (
    <AutocompleteInput
      {...props}
      choices={choicesOf(data ?? [])}
      isPending={isPending}
      sx={{ minWidth: 290 }}
      helperText={false}
    />
  );
}

/** People by name for those who may list them; else only the kinds of actors. */
function ActorInput(props: { source: string; label?: string; alwaysOn?: boolean }): ReactNode {
  const isAdmin = useMay('admin');
  const { data } = useQuery({
    queryKey: ['staff', 'names'],
    queryFn: async () => (await api<Schemas['StaffListDto']>('GET', '/admin/staff')).data.items,
    enabled: isAdmin,
  });
  const choices = [
    { id: 'staff', name: 'Any staff member' },
    { id: 'cli', name: 'The command line' },
    { id: 'system', name: 'Latchkey itself' },
    ...(data ?? []).map(({ id, name, email }) => ({ id, name: `${name} (${email})` })),
  ];
  return <AutocompleteInput {...props} choices={choices} sx={{ minWidth: 200 }} helperText={false} />;
}

/** The input knows no zones; the API asks for one. What the viewer types is in their own. */
const withZone = (local: string): string | null => {
  const at = new Date(local);
  return Number.isNaN(at.getTime()) ? null : at.toISOString();
};

const filters = [
  <ActionInput key="action" source="action" label="Action" alwaysOn />,
  <ActorInput key="actor" source="actor" label="Actor" alwaysOn />,
  <TextInput key="target" source="target" label="Target id" helperText={false} />,
  <DateTimeInput key="from" source="from" label="From" parse={withZone} helperText={false} />,
  <DateTimeInput key="to" source="to" label="Before" parse={withZone} helperText={false} />,
];

function Export(): ReactNode {
  const filterValues = useListContext().filterValues as Query;
  return (
    <Button label="Export NDJSON" component="a" download href={withQuery('/admin/audit-events/export', filterValues)}>
      <DownloadIcon />
    </Button>
  );
}

/** Text shows as it is, a list of texts a line each. */
function Value({ value }: { value: unknown }): ReactNode {
  if (value === null || value === undefined || value === '' || (Array.isArray(value) && value.length === 0)) {
    return (
      <Typography variant="body2" color="textSecondary">
        none
      </Typography>
    );
  }
  const isList = Array.isArray(value) && value.every((item) => typeof item === 'string');
  const text = isList ? value.join('\n') : typeof value === 'string' ? value : JSON.stringify(value, null, 2);
  return (
    <Typography variant="body2" sx={{ fontFamily: 'monospace', whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' }}>
      {text}
    </Typography>
  );
}

function Changes({ changes }: { changes: AuditEvent['changes'] }): ReactNode {
  const fields = Object.entries(changes);
  if (fields.length === 0) return <Typography color="textSecondary">No field changed.</Typography>;
  const cell = { p: 1, borderTop: 1, borderColor: 'divider', verticalAlign: 'top', textAlign: 'left' } as const;
  return (
    <Box component="table" sx={{ width: '100%', borderCollapse: 'collapse', tableLayout: 'fixed' }}>
      <thead>
        <tr>
          {['Field', 'Before', 'After'].map((name) => (
            <Box key={name} component="th" scope="col" sx={{ p: 1, textAlign: 'left', fontWeight: 600 }}>
              {name}
            </Box>
          ))}
        </tr>
      </thead>
      <tbody>
        {fields.map(([field, [before, after]]) => (
          <tr key={field}>
            <Box component="th" scope="row" sx={{ ...cell, fontWeight: 500, overflowWrap: 'anywhere' }}>
              {field}
            </Box>
            <Box component="td" sx={cell}>
              <Value value={before} />
            </Box>
            <Box component="td" sx={cell}>
              <Value value={after} />
            </Box>
          </tr>
        ))}
      </tbody>
    </Box>
  );
}

function Fact({ label, children }: { label: string; children: ReactNode }): ReactNode {
  return (
    <div>
      <Typography variant="caption" color="textSecondary" component="dt">
        {label}
      </Typography>
      <Typography component="dd" sx={{ m: 0, overflowWrap: 'anywhere' }}>
        {children}
      </Typography>
    </div>
  );
}

/** One event, with what was before beside what came after. */
function AuditEventDrawer({ event, onClose }: { event: AuditEvent | undefined; onClose: () => void }): ReactNode {
  const titleId = useId();
  return (
    <Drawer
      anchor="right"
      open={event !== undefined}
      onClose={onClose}
      slotProps={{
        paper: { role: 'dialog', 'aria-labelledby': titleId, sx: { width: { xs: '100%', sm: 560 }, p: 3 } },
      }}
    >
      {event && (
        <Stack spacing={2}>
          <Stack direction="row" sx={{ justifyContent: 'space-between', alignItems: 'center' }}>
            <Typography id={titleId} variant="h6" component="h2">
              {actionTitle(event.action)}
            </Typography>
            <IconButton aria-label="Close" onClick={onClose} autoFocus>
              <CloseIcon />
            </IconButton>
          </Stack>
          <Box
            component="dl"
            sx={{ m: 0, display: 'grid', gap: 1.5, gridTemplateColumns: { xs: '1fr', sm: '1fr 1fr' } }}
          >
            <Fact label="When">
              <Time value={event.at} />
            </Fact>
            <Fact label="Who">
              {event.actor.name} ({event.actor.type})
            </Fact>
            <Fact label="What">
              {event.target.name} ({event.target.type})
            </Fact>
            <Fact label="From address">{event.address ?? '–'}</Fact>
            <Fact label="Reason">{event.reason ?? '–'}</Fact>
            <Fact label="Request">{event.requestId ?? '–'}</Fact>
            <Fact label="Target id">{event.target.id}</Fact>
            <Fact label="Action">
              <code>{event.action}</code>
            </Fact>
          </Box>
          <Changes changes={event.changes} />
        </Stack>
      )}
    </Drawer>
  );
}

const NO_EVENTS = (
  <Box sx={{ px: 2 }}>
    <Nothing>No event fits these filters.</Nothing>
  </Box>
);

function Events({ onOpen }: { onOpen: (event: AuditEvent) => void }): ReactNode {
  const isSmall = useMediaQuery((theme: { breakpoints: { down: (key: string) => string } }) =>
    theme.breakpoints.down('md'),
  );
  const open = (_id: unknown, _resource: string, record: AuditEvent): false => {
    onOpen(record);
    return false;
  };
  return isSmall ? (
    <SimpleList<AuditEvent>
      primaryText={(event) => actionTitle(event.action)}
      secondaryText={(event) => (
        <>
          {event.actor.name} → {event.target.name}
          <br />
          <Time value={event.at} relative />
        </>
      )}
      rowClick={open as never}
      empty={NO_EVENTS}
    />
  ) : (
    <DataTable<AuditEvent> bulkActionButtons={false} rowClick={open} empty={NO_EVENTS}>
      <DataTable.Col<AuditEvent> source="at" label="When" disableSort render={(event) => <Time value={event.at} />} />
      <DataTable.Col<AuditEvent>
        source="action"
        disableSort
        render={(event) => (
          <Chip size="small" variant="outlined" label={actionTitle(event.action)} title={event.action} />
        )}
      />
      <DataTable.Col<AuditEvent> source="target.name" label="Target" disableSort />
      <DataTable.Col<AuditEvent> source="actor.name" label="Who" disableSort />
      <DataTable.Col<AuditEvent> source="reason" disableSort render={(event) => event.reason ?? '–'} />
      <DataTable.Col<AuditEvent> source="address" disableSort render={(event) => event.address ?? '–'} />
    </DataTable>
  );
}

/** Who changed what: the trail that nobody can change. */
export function AuditList(): ReactNode {
  const [event, setEvent] = useState<AuditEvent>();
  return (
    <>
      <List
        title="Audit"
        filters={filters}
        perPage={50}
        exporter={false}
        actions={
          <TopToolbar>
            <FilterButton />
            <Export />
          </TopToolbar>
        }
      >
        <Events onOpen={setEvent} />
      </List>
      <AuditEventDrawer
        event={event}
        onClose={() => {
          setEvent(undefined);
        }}
      />
    </>
  );
}
