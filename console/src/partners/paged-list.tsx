import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useInfiniteQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { mayRetry } from '../api.ts';
import { Loaded, Nothing } from './loading-states.tsx';
import type { Page } from './partner-api.ts';

interface PagedListProps<T, E> {
  readonly queryKey: readonly string[];
  readonly ask: (cursor: string | null) => Promise<Page<T>>;
  readonly title: string;
  /** Name of the data in messages, such as "the activity". */
  readonly what: string;
  readonly nothing: string;
  /** Label of the button for the next page. */
  readonly more?: string;
  /** A filter next to the title. */
  readonly filter?: ReactNode;
  /** Converts items to entries, such as several equal items to one entry. */
  readonly fold: (items: T[]) => E[];
  /** @param newer the entry above */
  readonly children: (item: E, newer: E | undefined) => ReactNode;
}

/** A list that starts with the newest items and loads page by page. */
export function FoldedList<T, E extends { id: string }>({
  queryKey,
  ask,
  title,
  what,
  nothing,
  more = 'Show older',
  filter,
  fold,
  children,
}: PagedListProps<T, E>) {
  const query = useInfiniteQuery({
    queryKey,
    queryFn: ({ pageParam }) => ask(pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: ({ nextCursor }) => nextCursor,
    retry: mayRetry,
  });
  const { isFetchingNextPage, hasNextPage } = query;
  return (
    <Stack spacing={2} useFlexGap>
      <Stack direction="row" spacing={2} useFlexGap sx={{ alignItems: 'center', flexWrap: 'wrap' }}>
        <Typography variant="h6" component="h2" sx={{ flexGrow: 1 }}>
          {title}
        </Typography>
        {filter}
      </Stack>
      <Loaded query={query} what={what} rows={6}>
        {({ pages }) => {
          const items = fold(pages.flatMap((page) => page.items));
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
                  There are no older entries.
                </Typography>
              )}
            </>
          );
        }}
      </Loaded>
    </Stack>
  );
}

/** A {@link FoldedList} with one entry for each item. */
export function PagedList<T extends { id: string }>(props: Omit<PagedListProps<T, T>, 'fold'>): ReactNode {
  return <FoldedList {...props} fold={(items: T[]) => items} />;
}
