import DownloadIcon from '@mui/icons-material/Download';
import PersonAddIcon from '@mui/icons-material/PersonAdd';
import UploadFileIcon from '@mui/icons-material/UploadFile';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import type { SxProps, Theme } from '@mui/material/styles';
import Typography from '@mui/material/Typography';
import useMediaQuery from '@mui/material/useMediaQuery';
import { Children, isValidElement, type ReactNode, useMemo, useState } from 'react';
import {
  BulkActionsToolbar,
  ColumnsButton,
  DataTable,
  DataTableBody,
  type DataTableColumnProps,
  List,
  Pagination,
  SelectAllButton,
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
import { LIST_COLUMNS } from './partner-fields.tsx';
import { PartnerFilters } from './partner-filters.tsx';
import { StatusChip } from './status-chip.tsx';
import { countOf } from './words.ts';

/** A link to the API's export of the filtered list, which streams any number of partners. */
function ExportButton() {
  const filterValues = useListContext().filterValues as Query;
  return (
    <Button
      size="small"
      component="a"
      download
      href={withQuery('/admin/channel-users/export', filterValues)}
      startIcon={<DownloadIcon />}
    >
      Export CSV
    </Button>
  );
}

/** Own buttons with labels, since on a phone react-admin's become icons, and its create button covers the list. */
function Actions({ isPhone }: { isPhone: boolean }) {
  return (
    <TopToolbar sx={{ flexWrap: 'wrap', rowGap: 0.5 }}>
      {!isPhone && <ColumnsButton />}
      <ExportButton />
      <IfRole role="operator">
        <Button size="small" component={Link} to="/import" startIcon={<UploadFileIcon />}>
          Import
        </Button>
        <Button size="small" component={Link} to="/channel-users/create" startIcon={<PersonAddIcon />}>
          Add partner
        </Button>
      </IfRole>
    </TopToolbar>
  );
}

const isFiltered = (filter: object): boolean => Object.keys(filter).length > 0;

/** Explains an empty list: the filter matches nothing, or there are no partners at all. */
function NoPartners() {
  const { setFilters, ...list } = useListContext();
  const filterValues = list.filterValues as Query;
  return (
    <Stack spacing={2} useFlexGap sx={{ alignItems: 'center', py: 6, px: 2, textAlign: 'center' }} role="status">
      <Typography variant="h6" component="p">
        {isFiltered(filterValues) ? 'No partner matches these filters' : 'No partners yet'}
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

const TABLE_STYLES: SxProps<Theme> = {
  '& .RaDataTable-tableWrapper': { overflowX: 'auto' },
  '& .partner': { minWidth: 160, overflowWrap: 'anywhere' },
  '& .partner a': { color: 'inherit', fontWeight: 500 },
  '& .partner bdi': { display: 'block', textAlign: 'left', color: 'text.secondary', fontWeight: 400 },
  '& td.cell': { px: 2, py: 0.75, borderBottom: 1, borderColor: 'divider', fontSize: 14, lineHeight: 1.43 },
  '& td.number': { textAlign: 'right' },
  '& .scopes': { display: 'flex', flexWrap: 'wrap', gap: 0.5 },
  '& .scopes span': { bgcolor: 'action.selected', borderRadius: 4, px: 1, fontSize: 13, lineHeight: '24px' },
};

/** Renders only the visible columns, without empty cells for the hidden ones. */
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
 * react-admin's column with plain elements as body cells, which the table styles. Material UI's cells took half of the
 * time to render a page.
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

/** Created once, since react-admin renders all rows again when it gets new columns. */
const COLUMNS = LIST_COLUMNS.map(({ name, label, column: { align, sort }, render }) => (
  <Column
    key={name}
    source={name}
    label={label}
    render={render}
    {...(sort ? { sortByOrder: sort } : { disableSort: true })}
    {...(align && { align })}
  />
));
const HIDDEN = LIST_COLUMNS.filter(({ column }) => column.isHidden).map(({ name }) => name);

/** Highest number of partners that can be selected: the API's largest page. */
const MOST_SELECTED = 200;

/** A button that selects all partners of the filter, and names their number. */
function SelectAll() {
  const { total } = useListContext();
  const most = MOST_SELECTED.toLocaleString();
  const label =
    total === undefined
      ? `Select the first ${most} of more than 10,000`
      : total > MOST_SELECTED
        ? `Select the first ${most} of ${total.toLocaleString()}`
        : `Select all ${total.toLocaleString()}`;
  return <SelectAllButton label={label} limit={MOST_SELECTED} />;
}

function PartnerTable({ onAsk }: { onAsk: (asked: BulkChange) => void }) {
  const mayChange = useMay('operator');
  return (
    <Box sx={{ display: 'grid', gridTemplateColumns: 'minmax(0, 1fr)' }}>
      <DataTable<ChannelUser>
        rowClick="show"
        bulkActionButtons={mayChange}
        bulkActionsToolbar={
          <BulkActionsToolbar selectAllButton={<SelectAll />}>
            <BulkState onAsk={onAsk} />
          </BulkActionsToolbar>
        }
        empty={<NoPartners />}
        hiddenColumns={HIDDEN}
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
      primaryText={({ username }) => username}
      secondaryText={({ displayName, lastTokenAt }) => (
        <>
          <bdi>{displayName}</bdi>
          <br />
          last token: {lastTokenAt === null ? 'never' : <Time value={lastTokenAt} relative />}
        </>
      )}
      tertiaryText={({ status }) => <StatusChip status={status} />}
      rowClick="show"
    />
  );
}

/** The list of partners: search, filters, sorting and bulk changes. */
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
