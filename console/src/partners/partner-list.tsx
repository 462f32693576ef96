import DownloadIcon from '@mui/icons-material/Download';
import PersonAddIcon from '@mui/icons-material/PersonAdd';
import UploadFileIcon from '@mui/icons-material/UploadFile';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Chip from '@mui/material/Chip';
import Stack from '@mui/material/Stack';
import type { Theme } from '@mui/material/styles';
import Typography from '@mui/material/Typography';
import useMediaQuery from '@mui/material/useMediaQuery';
import {
  Button as ToolbarButton,
  ColumnsButton,
  CreateButton,
  DataTable,
  List,
  Pagination,
  SimpleList,
  TopToolbar,
  useListContext,
} from 'react-admin';
import { Link } from 'react-router-dom';
import { type Query, withQuery } from '../api.ts';
import { Time } from '../feedback.tsx';
import { IfRole, useMay } from '../permissions.ts';
import { BulkState } from './bulk-state.tsx';
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
        <ToolbarButton label="Import" component={Link} to="/import">
          <UploadFileIcon />
        </ToolbarButton>
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

function Scopes({ scopes }: { scopes: readonly string[] }) {
  const more = scopes.length - SHOWN_SCOPES;
  return (
    <Box sx={{ display: 'flex', flexWrap: 'wrap', gap: 0.5 }}>
      {scopes.slice(0, SHOWN_SCOPES).map((scope) => (
        <Chip key={scope} size="small" label={scope} />
      ))}
      {more > 0 && <Chip size="small" variant="outlined" label={`+${String(more)}`} title={scopes.join(', ')} />}
    </Box>
  );
}

const Column = DataTable.Col<ChannelUser>;

function PartnerTable() {
  const mayChange = useMay('operator');
  return (
    <Box sx={{ display: 'grid', gridTemplateColumns: 'minmax(0, 1fr)' }}>
      <DataTable<ChannelUser>
        rowClick="show"
        bulkActionButtons={mayChange ? <BulkState /> : false}
        empty={<NoPartners />}
        hiddenColumns={['contactEmail', 'tokenTtlSeconds', 'tokensPerMinute', 'allowedIps', 'createdAt']}
        sx={{ '& .RaDataTable-tableWrapper': { overflowX: 'auto' } }}
      >
        <Column
          source="username"
          label="Partner"
          render={({ id, displayName, username }) => (
            <Box sx={{ minWidth: 160, overflowWrap: 'anywhere' }}>
              {/* A link, for the keyboard and for new tabs. */}
              <Link
                to={`/channel-users/${id}/show`}
                style={{ color: 'inherit', fontWeight: 500 }}
                onClick={(event) => {
                  event.stopPropagation();
                }}
              >
                {displayName}
              </Link>
              <Typography variant="body2" color="textSecondary">
                {username}
              </Typography>
            </Box>
          )}
        />
        <Column source="status" label="State" disableSort render={({ status }) => <StatusChip status={status} />} />
        <Column source="scopes" disableSort render={({ scopes }) => <Scopes scopes={scopes} />} />
        <Column
          source="lastTokenAt"
          label="Last token"
          sortByOrder="DESC"
          render={({ lastTokenAt }) => (lastTokenAt === null ? 'never' : <Time value={lastTokenAt} relative />)}
        />
        <Column
          source="expiresAt"
          label="Ends"
          disableSort
          render={({ expiresAt }) => (expiresAt === null ? 'never' : <Time value={expiresAt} />)}
        />
        <Column source="contactEmail" label="E-mail" disableSort />
        <Column
          source="tokenTtlSeconds"
          label="Token life"
          disableSort
          render={({ tokenTtlSeconds }) => durationOf(tokenTtlSeconds)}
        />
        <Column source="tokensPerMinute" label="Tokens a minute" disableSort align="right" />
        <Column
          source="allowedIps"
          label="Allowed addresses"
          disableSort
          render={({ allowedIps }) => (allowedIps.length === 0 ? 'anywhere' : allowedIps.join(', '))}
        />
        <Column
          source="createdAt"
          label="Added"
          sortByOrder="DESC"
          render={({ createdAt }) => <Time value={createdAt} />}
        />
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
      {isPhone ? <PartnerLines /> : <PartnerTable />}
    </List>
  );
}
