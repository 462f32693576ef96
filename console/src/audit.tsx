import CloseIcon from '@mui/icons-material/Close';
import DownloadIcon from '@mui/icons-material/Download';
import Box from '@mui/material/Box';
import MuiButton from '@mui/material/Button';
import Chip from '@mui/material/Chip';
import Drawer from '@mui/material/Drawer';
import IconButton from '@mui/material/IconButton';
import MuiLink from '@mui/material/Link';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import useMediaQuery from '@mui/material/useMediaQuery';
import { useQuery, useQueryClient } from '@tanstack/react-query';
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
  useNotify,
} from 'react-admin';
import { Link, useLocation } from 'react-router-dom';
import { api, type Query, withQuery } from './api.ts';
import { Actor, SameTarget, Target } from './audit-links.tsx';
import { actionTitle } from './audit-words.ts';
import { messageOf, Time } from './feedback.tsx';
import { Fact } from './page.tsx';
import { Nothing } from './partners/loading-states.tsx';
import { useMay } from './permissions.ts';
import { RequestLink } from './requests/request-link.tsx';
import type { AuditChain, AuditEvent, Schemas } from './types.ts';

const choicesOf = (actions: string[]): { id: string; name: string }[] =>
  actions
    .map((action) => ({ id: action, name: actionTitle(action) }))
    .sort((one, other) => one.name.localeCompare(other.name));

/** A choice of the existing actions. If they cannot be loaded, the field takes free text. */
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

/** A choice of actors: people and scripts by name for admins, who may list them, and kinds of actors for others. */
function ActorInput(props: { source: string; label?: string; alwaysOn?: boolean }): ReactNode {
  const isAdmin = useMay('admin');
  const { data } = useQuery({
    queryKey: ['staff', 'names'],
    queryFn: async () => (await api<Schemas['StaffListDto']>('GET', '/admin/staff')).data.items,
    enabled: isAdmin,
  });
  const scripts = useQuery({
    queryKey: ['service-accounts', 'names'],
    queryFn: async () => (await api<Schemas['ServiceAccountListDto']>('GET', '/admin/service-accounts')).data.items,
    enabled: isAdmin,
  });
  const choices = [
    { id: 'staff', name: 'Any staff member' },
    { id: 'channel-user', name: 'Any partner' },
    { id: 'service-account', name: 'Any service account' },
    { id: 'cli', name: 'The command line' },
    { id: 'system', name: 'Latchkey itself' },
    ...(data ?? []).map(({ id, name, email }) => ({ id, name: `${name} (${email})` })),
    ...(scripts.data ?? []).map(({ id, name }) => ({ id, name: `${name} (service account)` })),
  ];
  return <AutocompleteInput {...props} choices={choices} sx={{ minWidth: 200 }} helperText={false} />;
}

/** Adds the viewer's time zone, since the input has none and the API needs one. */
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

/** A link that exports the filtered events: as CSV for spreadsheets, or as NDJSON with the proof of the chain. */
function Export({ format, label }: { format: 'csv' | 'ndjson'; label: string }): ReactNode {
  const filterValues = useListContext().filterValues as Query;
  const href = withQuery('/admin/audit-events/export', { ...filterValues, format });
  return (
    <MuiButton size="small" component="a" download href={href} startIcon={<DownloadIcon />}>
      {label}
    </MuiButton>
  );
}

const HOUR_MS = 3_600_000;
const PRESETS: [label: string, hours: number][] = [
  ['24 hours', 24],
  ['7 days', 7 * 24],
  ['30 days', 30 * 24],
];

/** Buttons that show the events of the last hours or days. Pressing a button again shows all events. */
function Presets(): ReactNode {
  const context = useListContext();
  const shown = context.displayedFilters as Record<string, boolean>;
  const [chosen, setChosen] = useState<{ label: string; from: string }>();
  const { from, to, ...others } = context.filterValues as Query;
  // No preset is active once a time was set by hand.
  const active = chosen?.from === from && to === undefined ? chosen?.label : undefined;
  const choose = (label: string, hours: number): void => {
    if (label === active) {
      context.setFilters(others, shown);
      return;
    }
    const start = new Date(Date.now() - hours * HOUR_MS).toISOString();
    setChosen({ label, from: start });
    context.setFilters({ ...others, from: start }, shown);
  };
  return (
    <Stack direction="row" spacing={1} useFlexGap role="group" aria-label="The last" sx={{ flexWrap: 'wrap' }}>
      {PRESETS.map(([label, hours]) => (
        <Chip
          key={label}
          label={`Last ${label}`}
          size="small"
          color={label === active ? 'primary' : 'default'}
          variant={label === active ? 'filled' : 'outlined'}
          aria-pressed={label === active}
          onClick={() => {
            choose(label, hours);
          }}
        />
      ))}
    </Stack>
  );
}

const CHAIN = ['audit-events', 'chain'];
/** How often the state of a running verification is loaded. */
const POLL_MS = 1_000;

/** The result of the last verification of the audit trail's MAC chain. Admins can start another. */
function ChainState(): ReactNode {
  const isAdmin = useMay('admin');
  const notify = useNotify();
  const queryClient = useQueryClient();
  const { data } = useQuery({
    queryKey: CHAIN,
    queryFn: async () => (await api<AuditChain>('GET', '/admin/audit-events/chain')).data,
    refetchInterval: ({ state }) => (state.data?.verifying === true ? POLL_MS : false),
  });
  if (!data) return null;
  const { verified, verifying } = data;
  const verify = async (): Promise<void> => {
    try {
      queryClient.setQueryData(CHAIN, (await api<AuditChain>('POST', '/admin/audit-events/chain/verify')).data);
    } catch (error) {
      notify(messageOf(error), { type: 'error' });
    }
  };
  return (
    <Stack direction="row" spacing={1} role="status" sx={{ alignItems: 'center', flexWrap: 'wrap', mt: 1 }}>
      {verified === null ? (
        <Chip size="small" variant="outlined" label="Chain not yet verified" />
      ) : (
        <Chip
          size="small"
          variant={verified.ok ? 'outlined' : 'filled'}
          color={verified.ok ? 'success' : 'error'}
          sx={{ height: 'auto', '& .MuiChip-label': { whiteSpace: 'normal', py: 0.25 } }}
          label={
            <>
              {verified.ok
                ? `Chain intact up to event ${String(verified.sequence)}`
                : `Chain broken: ${verified.problem ?? ''}`}
              , checked <Time value={verified.at} relative />
            </>
          }
        />
      )}
      {isAdmin && (
        <Button label={verifying ? 'Verifying…' : 'Verify now'} disabled={verifying} onClick={() => void verify()} />
      )}
    </Stack>
  );
}

/** A value of a change: text as it is, and a list with one text per line. */
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

/** One event, with the values before and after each change. */
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
              <Time value={event.at} seconds />
            </Fact>
            <Fact label="Who">
              <Actor actor={event.actor} /> ({event.actor.type})
            </Fact>
            <Fact label="What">
              <Target target={event.target} /> ({event.target.type})
            </Fact>
            <Fact label="From address">{event.address ?? '–'}</Fact>
            <Fact label="Reason">{event.reason ?? '–'}</Fact>
            <Fact label="Request">{event.requestId === null ? '–' : <RequestLink id={event.requestId} />}</Fact>
            <Fact label="Target id">{event.target.id}</Fact>
            <Fact label="Action">
              <code>{event.action}</code>
            </Fact>
          </Box>
          <Changes changes={event.changes} />
          <Typography>
            <SameTarget target={event.target} />
          </Typography>
        </Stack>
      )}
    </Drawer>
  );
}

const NO_EVENTS = (
  <Box sx={{ px: 2 }}>
    <Nothing>No event matches these filters.</Nothing>
  </Box>
);

/** For names without a space, such as those of signing keys. */
const WRAPPED = { overflowWrap: 'anywhere' } as const;

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
        <Box component="span" sx={WRAPPED}>
          <bdi>{event.actor.name}</bdi> → <bdi>{event.target.name}</bdi>
          <br />
          <Time value={event.at} seconds />
        </Box>
      )}
      rowClick={open as never}
      empty={NO_EVENTS}
    />
  ) : (
    <DataTable<AuditEvent> bulkActionButtons={false} rowClick={open} empty={NO_EVENTS}>
      <DataTable.Col<AuditEvent>
        source="at"
        label="When"
        disableSort
        render={(event) => <Time value={event.at} seconds />}
      />
      <DataTable.Col<AuditEvent>
        source="action"
        disableSort
        render={(event) => (
          <Chip size="small" variant="outlined" label={actionTitle(event.action)} title={event.action} />
        )}
      />
      <DataTable.Col<AuditEvent>
        source="target.name"
        label="Target"
        disableSort
        render={(event) => (
          <Box component="span" sx={WRAPPED}>
            <Target target={event.target} />
          </Box>
        )}
      />
      <DataTable.Col<AuditEvent>
        source="actor.name"
        label="Who"
        disableSort
        render={(event) => <Actor actor={event.actor} />}
      />
      <DataTable.Col<AuditEvent> source="reason" disableSort render={(event) => event.reason ?? '–'} />
      <DataTable.Col<AuditEvent> source="address" disableSort render={(event) => event.address ?? '–'} />
    </DataTable>
  );
}

/** The audit trail: who changed what. */
export function AuditList(): ReactNode {
  const isAdmin = useMay('admin');
  // Closes the drawer when one of its links is followed, even within this page.
  const { key } = useLocation();
  const [opened, setOpened] = useState<{ event: AuditEvent; key: string }>();
  return (
    <>
      <ChainState />
      <Typography variant="body2" color="textSecondary" sx={{ my: 1 }}>
        Failed sign-ins are not part of the audit trail. Those of a partner are on the partner’s page under Sign-ins
        {isAdmin && (
          <>
            ; those of staff are under{' '}
            <MuiLink component={Link} to="/staff">
              Staff
            </MuiLink>
          </>
        )}
        .
      </Typography>
      <List
        title="Audit"
        filters={filters}
        perPage={50}
        exporter={false}
        actions={
          <TopToolbar sx={{ flexWrap: 'wrap', alignItems: 'center', gap: 1 }}>
            <Presets />
            <FilterButton />
            <Export format="csv" label="Export CSV" />
            <Export format="ndjson" label="Export NDJSON" />
          </TopToolbar>
        }
      >
        <Events
          onOpen={(event) => {
            setOpened({ event, key });
          }}
        />
      </List>
      <AuditEventDrawer
        event={opened?.key === key ? opened.event : undefined}
        onClose={() => {
          setOpened(undefined);
        }}
      />
    </>
  );
}
