/** What the page has asked and remembers. A log-in that has ended anywhere is noticed everywhere. */
import { QueryCache, QueryClient } from '@tanstack/react-query';
import { ApiError } from './api.ts';

export const whoamiKey = ['whoami'] as const;

export const queries: QueryClient = new QueryClient({
  queryCache: new QueryCache({
    onError: (error, query) => {
      const isOver = error instanceof ApiError && error.status === 401;
      if (isOver && query.queryKey[0] !== whoamiKey[0]) void queries.invalidateQueries({ queryKey: whoamiKey });
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      // What the server refused it refuses again.
      retry: (failures, error) => failures < 2 && !(error instanceof ApiError && error.status >= 400),
    },
  },
});
