/** Who is logged in, with the duties that the server says they hold. */
import { useQuery } from '@tanstack/react-query';
import { api } from './api.ts';
import { whoamiKey } from './queries.ts';

export type Duty = 'designer' | 'approver' | 'executor' | 'auditor' | 'admin';

export interface Who {
  readonly id: string;
  readonly human: string;
  readonly kind: 'person' | 'service';
  readonly displayName: string;
  readonly email?: string;
  readonly groups: readonly string[];
  /** By connection. */
  readonly duties: Readonly<Record<string, readonly Duty[]>>;
}

export const whoami = {
  queryKey: whoamiKey,
  queryFn: ({ signal }: { signal: AbortSignal }) => api<Who>('/whoami', { signal }),
  staleTime: 60_000,
};

/** @throws Error outside of the shell, which shows pages only to somebody who is logged in */
export function useWho(): Who {
  const { data } = useQuery(whoami);
  if (data === undefined) throw new Error('nobody is logged in');
  return data;
}

export function dutiesOf(who: Who): readonly Duty[] {
  return [...new Set(Object.values(who.duties).flat())];
}

export function nameOf(who: Pick<Who, 'id' | 'displayName'>): string {
  return who.displayName === '' ? who.id : who.displayName;
}
