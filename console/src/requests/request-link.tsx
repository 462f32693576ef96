import MuiLink from '@mui/material/Link';
import type { ReactNode } from 'react';
import { Link } from 'react-router-dom';

/** The path of the page that shows what became of a request. */
export const requestPath = (id: string): string => `/requests/${id}`;

/** A request id, with a link to what became of the request. */
export const RequestLink = ({ id }: { id: string }): ReactNode => (
  <MuiLink component={Link} to={requestPath(id)} sx={{ overflowWrap: 'anywhere' }}>
    {id}
  </MuiLink>
);
