/** Lists that the server gives in pages: each answer says from where the next one goes on. */
import { useInfiniteQuery, type QueryKey } from '@tanstack/react-query';
import { api } from './api.ts';

/** @param path for the page before this id; undefined = the newest page */
export function usePaged<Answer extends { readonly next: string | null }>(
  queryKey: QueryKey,
  path: (before: string | undefined) => string,
) {
  return useInfiniteQuery({
    queryKey,
    queryFn: ({ pageParam, signal }) => api<Answer>(path(pageParam), { signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next ?? undefined,
  });
}
