import Box from '@mui/material/Box';
import Card from '@mui/material/Card';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { api } from './api.ts';
import { Time } from './feedback.tsx';
import { Loaded, Nothing } from './partners/loading-states.tsx';
import type { Schemas } from './types.ts';

const REASONS: Record<Schemas['StaffFailureDto']['reason'], string> = {
  wrong_password: 'wrong password',
  wrong_code: 'wrong second factor',
};

/** Failed sign-ins to staff accounts: which accounts, and from which addresses. */
export function StaffFailures(): ReactNode {
  const query = useQuery({
    queryKey: ['staff', 'sign-in-failures'],
    queryFn: async () => (await api<Schemas['StaffFailureListDto']>('GET', '/admin/staff/sign-in-failures')).data.items,
  });
  return (
    <Card variant="outlined" component="section" aria-label="Failed sign-ins" sx={{ p: 2, mt: 2 }}>
      <Typography variant="h6" component="h2">
        Failed sign-ins
      </Typography>
      <Loaded query={query} what="the failed sign-ins">
        {(items) =>
          items.length === 0 ? (
            <Nothing>No sign-ins have failed.</Nothing>
          ) : (
            <Box component="ul" sx={{ listStyle: 'none', p: 0, m: 0 }}>
              {items.map(({ staff, hour, reason, count, lastAt, lastAddress }) => (
                <Box
                  component="li"
                  key={`${staff.id} ${hour} ${reason}`}
                  sx={{ py: 1, borderTop: 1, borderColor: 'divider', overflowWrap: 'anywhere' }}
                >
                  <Typography sx={{ fontWeight: 500 }}>
                    <bdi>{staff.name}</bdi> ({staff.email})
                  </Typography>
                  <Typography variant="body2" color="textSecondary">
                    {count.toLocaleString()} × {REASONS[reason]} within an hour, last <Time value={lastAt} seconds />{' '}
                    {lastAddress === null ? 'from an unknown address' : `from ${lastAddress}`}
                  </Typography>
                </Box>
              ))}
            </Box>
          )
        }
      </Loaded>
    </Card>
  );
}
