import DownloadIcon from '@mui/icons-material/Download';
import PersonAddIcon from '@mui/icons-material/PersonAdd';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import type { SxProps, Theme } from '@mui/material/styles';
import Typography from '@mui/material/Typography';
import useMediaQuery from '@mui/material/useMediaQuery';
import { Children, isValidElement, type ReactNode, useMemo, useState } from 'react';
import {
  Button as ToolbarButton,
  ColumnsButton,
  CreateButton,
  DataTable,
  DataTableBody,
  type DataTableColumnProps,
  List,
  Pagination,
  SimpleList,
  TopToolbar,
  useDataTableRenderContext,
  useDataTableStoreContext,
  useListContext,
  useRecordContext,
  useStore,
} from 'react-admin';
import { Link } from 'react-router-dom';
import { type Query, withQuery } from '../api.ts';
import { Time } from '../feedback.tsx';
import { IfRole, useMay } from '../permissions.ts';
import { type BulkChange, BulkDialog, BulkState } from './bulk-state.tsx';
import type { ChannelUser } from './partner-api.ts';
import { PartnerFilters } from './partner-filters.tsx';
import { StatusChip } from './status-chip.tsx';
import { countOf, durationOf } from './words.ts';

/** A link to the API's own export of what the list is filtered to: it streams, however much there is. */
function ExportButton() {
  const filterValues = useListContext().filterValues as Query;
  return (
    <ToolbarButton
      label="Export CSV"
      component="a"
      download
      href={withQuery('/admin/channel-users/export', filterValues)}
    >
      <DownloadIcon />
    </ToolbarButton>
  );
}

function Actions({ isPhone }: { isPhone: boolean }) {
  return (
    <TopToolbar>
      {!isPhone && <ColumnsButton />}
      <ExportButton />
      <IfRole role="operator">
        <CreateButton label="Add partner" icon={<PersonAddIcon />} />
      </IfRole>
    </TopToolbar>
  );
}

const isFiltered = (filter: object): boolean => Object.keys(filter).length > 0;

/** No rows: because of the filter, or because there are no partners at all. */
function NoPartners() {
  const { setFilters, ...list } = useListContext();
  const filterValues = list.filterValues as Query;
  return (
    <Stack spacing={2} useFlexGap sx={{ alignItems: 'center', py: 6, px: 2, textAlign: 'center' }} role="status">
      <Typography variant="h6" component="p">
        {isFiltered(filterValues) ? 'No partner fits these filters' : 'No partners yet'}
      </Typography>
      {isFiltered(filterValues) ? (
        <Button
          variant="outlined"
          onClick={() => {
            setFilters({}, {}, false);
          }}
        >
          Clear all filters
        </Button>
      ) : (
        <IfRole role="operator">
          <Typography color="textSecondary">Add the first one: it takes a minute.</Typography>
          <Button component={Link} to="/channel-users/create" variant="contained" startIcon={<PersonAddIcon />}>
            Add partner
          </Button>
        </IfRole>
      )}
    </Stack>
  );
}

function Total() {
  const { total, isPending } = useListContext();
  return (
    <Typography variant="body2" component="h1" color="textSecondary" aria-live="polite" sx={{ px: 2, py: 1 }}>
      {isPending
        ? 'Loading…'
        : total === undefined
          ? 'More than 10,000 partners'
          : countOf(total, 'partner', 'partners')}
    </Typography>
  );
}

const SHOWN_SCOPES = 3;

/** Plain elements, which the table styles: a page may have 600 of them. */
function Scopes({ scopes }: { scopes: readonly string[] }) {
  const more = scopes.length - SHOWN_SCOPES;
  return (
    <div className="scopes">
      {scopes.slice(0, SHOWN_SCOPES).map((scope) => (
        <span key={scope}>{scope}</span>
      ))}
      {more > 0 && <span title={scopes.join(', ')}>{`+${String(more)}`}</span>}
    </div>
  );
}

const TABLE_STYLES: SxProps<Theme> = {
  '& .RaDataTable-tableWrapper': { overflowX: 'auto' },
  '& .partner': { minWidth: 160, overflowWrap: 'anywhere' },
  '& .partner a': { color: 'inherit', fontWeight: 500 },
  '& .partner div': { color: 'text.secondary' },
  '& td.cell': { px: 2, py: 0.75, borderBottom: 1, borderColor: 'divider', fontSize: 14, lineHeight: 1.43 },
  '& td.number': { textAlign: 'right' },
  '& .scopes': { display: 'flex', flexWrap: 'wrap', gap: 0.5 },
  '& .scopes span': { bgcolor: 'action.selected', borderRadius: 4, px: 1, fontSize: 13, lineHeight: '24px' },
};

/** Draws the columns that are shown, and not even empty cells of the others. */
function ShownColumns({ children, ...rest }: { children?: ReactNode }) {
  const { storeKey, defaultHiddenColumns } = useDataTableStoreContext();
  const [hidden] = useStore<string[]>(storeKey, defaultHiddenColumns);
  const shown = useMemo(
    () =>
      Children.toArray(children).filter(
        (column) => !isValidElement<{ source?: string }>(column) || !hidden.includes(column.props.source ?? ''),
      ),
    [children, hidden],
  );
  return <DataTableBody {...rest}>{shown}</DataTableBody>;
}

/**
 * A column of react-admin, but for the cells of the body: those are plain elements, which the table styles. Material UI's
 * cost a page of rows half of the time that it takes.
 */
function Column(props: DataTableColumnProps<ChannelUser>) {
  const isBody = useDataTableRenderContext() === 'data';
  const record = useRecordContext<ChannelUser>();
  if (!isBody || !record) return <DataTable.Col<ChannelUser> {...props} />;
  const { source, render, align } = props;
  return (
    <td className={align === 'right' ? 'cell number' : 'cell'}>
      {render ? render(record) : String(record[source as keyof ChannelUser] ?? '')}
    </td>
  );
}

/** Made once: react-admin draws all rows again when it is given other columns. */
const COLUMNS = [
  <Column
    key="username"
    source="username"
    label="Partner"
    render={({ id, displayName, username }) => (
      <div className="partner">
        {/* A link, for the keyboard and for new tabs. */}
        <Link
          to={`/channel-users/${id}/show`}
          onClick={(event) => {
            event.stopPropagation();
          }}
        >
          {displayName}
        </Link>
        <div>{username}</div>
      </div>
    )}
  />,
  <Column
    key="status"
    source="status"
    label="State"
    disableSort
    render={({ status }) => <StatusChip status={status} />}
  />,
  <Column key="scopes" source="scopes" disableSort render={({ scopes }) => <Scopes scopes={scopes} />} />,
  <Column
    key="lastTokenAt"
    source="lastTokenAt"
    label="Last token"
    sortByOrder="DESC"
    render={({ lastTokenAt }) => (lastTokenAt === null ? 'never' : <Time value={lastTokenAt} relative />)}
  />,
  <Column
    key="expiresAt"
    source="expiresAt"
    label="Ends"
    disableSort
    render={({ expiresAt }) => (expiresAt === null ? 'never' : <Time value={expiresAt} />)}
  />,
  <Column key="contactEmail" source="contactEmail" label="E-mail" disableSort />,
  <Column
    key="tokenTtlSeconds"
    source="tokenTtlSeconds"
    label="Token life"
    disableSort
    render={({ tokenTtlSeconds }) => durationOf(tokenTtlSeconds)}
  />,
  <Column key="tokensPerMinute" source="tokensPerMinute" label="Tokens a minute" disableSort align="right" />,
  <Column
    key="allowedIps"
    source="allowedIps"
    label="Allowed addresses"
    disableSort
    render={({ allowedIps }) => (allowedIps.length === 0 ? 'anywhere' : allowedIps.join(', '))}
  />,
  <Column
    key="createdAt"
    source="createdAt"
    label="Added"
    sortByOrder="DESC"
    render={({ createdAt }) => <Time value={createdAt} />}
  />,
];

function PartnerTable({ onAsk }: { onAsk: (asked: BulkChange) => void }) {
  const mayChange = useMay('operator');
  return (
    <Box sx={{ display: 'grid', gridTemplateColumns: 'minmax(0, 1fr)' }}>
      <DataTable<ChannelUser>
        rowClick="show"
        bulkActionButtons={mayChange ? <BulkState onAsk={onAsk} /> : false}
        empty={<NoPartners />}
        hiddenColumns={['contactEmail', 'tokenTtlSeconds', 'tokensPerMinute', 'allowedIps', 'createdAt']}
        body={ShownColumns}
        sx={TABLE_STYLES}
      >
        {COLUMNS}
      </DataTable>
    </Box>
  );
}

function PartnerLines() {
  return (
    <SimpleList<ChannelUser>
      sx={{ '& [class*="-tertiary"]': { opacity: 1 } }}
      empty={<NoPartners />}
      primaryText={({ displayName }) => displayName}
      secondaryText={({ username, lastTokenAt }) => (
        <>
          {username}
          <br />
          last token: {lastTokenAt === null ? 'never' : <Time value={lastTokenAt} relative />}
        </>
      )}
      tertiaryText={({ status }) => <StatusChip status={status} />}
      rowClick="show"
    />
  );
}

/** All partners: search, filter, sort, and change many at once. */
export function PartnerList() {
  const isPhone = useMediaQuery((theme: Theme) => theme.breakpoints.down('sm'));
  const [asked, setAsked] = useState<BulkChange>();
  return (
    <List<ChannelUser>
      title="Partners"
      sort={{ field: 'username', order: 'ASC' }}
      perPage={50}
      actions={<Actions isPhone={isPhone} />}
      pagination={<Pagination rowsPerPageOptions={[25, 50, 100, 200]} />}
      empty={false}
      sx={{ '& .RaList-content': { overflow: 'hidden' } }}
    >
      <PartnerFilters />
      <Total />
      {isPhone ? <PartnerLines /> : <PartnerTable onAsk={setAsked} />}
      {asked && (
        <BulkDialog
          {...asked}
          onClose={() => {
            setAsked(undefined);
          }}
        />
      )}
    </List>
  );
}
