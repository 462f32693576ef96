import RefreshIcon from '@mui/icons-material/Refresh';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useInfiniteQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { Loaded, Nothing } from './loading-states.tsx';
import type { Page } from './partner-api.ts';

interface PagedListProps<T> {
  readonly queryKey: readonly string[];
  readonly ask: (cursor: string | null) => Promise<Page<T>>;
  readonly title: string;
  /** What is being asked for, as in "the activity". */
  readonly what: string;
  readonly nothing: string;
  /** On the button for the next page. */
  readonly more?: string;
  /** @param newer the one above it */
  readonly children: (item: T, newer: T | undefined) => ReactNode;
}

/** Newest first, page by page, refreshed when asked. */
export function PagedList<T extends { id: string }>({
  queryKey,
  ask,
  title,
  what,
  nothing,
  more = 'Show older',
  children,
}: PagedListProps<T>) {
  const query = useInfiniteQuery({
    queryKey,
    queryFn: ({ pageParam }) => ask(pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: ({ nextCursor }) => nextCursor,
  });
  const { isFetching, isFetchingNextPage, hasNextPage } = query;
  return (
    <Stack spacing={2} useFlexGap>
      <Stack direction="row" spacing={2} useFlexGap sx={{ alignItems: 'center' }}>
        <Typography variant="h6" component="h2" sx={{ flexGrow: 1 }}>
          {title}
        </Typography>
        <Button
          startIcon={<RefreshIcon />}
          loading={isFetching && !isFetchingNextPage}
          loadingPosition="start"
          onClick={() => void query.refetch()}
        >
          Refresh
        </Button>
      </Stack>
      <Loaded query={query} what={what} rows={6}>
        {({ pages }) => {
          const items = pages.flatMap((page) => page.items);
          if (items.length === 0) return <Nothing>{nothing}</Nothing>;
          return (
            <>
              <Box component="ol" sx={{ listStyle: 'none', p: 0, m: 0 }}>
                {items.map((item, index) => (
                  <Box
                    component="li"
                    key={item.id}
                    sx={{ py: 1.5, borderBottom: 1, borderColor: 'divider', overflowWrap: 'anywhere' }}
                  >
                    {children(item, items[index - 1])}
                  </Box>
                ))}
              </Box>
              {hasNextPage ? (
                <Box>
                  <Button variant="outlined" loading={isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
                    {more}
                  </Button>
                </Box>
              ) : (
                <Typography variant="body2" color="textSecondary">
                  That is all there is.
                </Typography>
              )}
            </>
          );
        }}
      </Loaded>
    </Stack>
  );
}
