/** What a question to the server gave: the answer, the failure as the server says it, or that it is on its way. */
import { Center, Loader } from '@mantine/core';
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { Failure } from './Failure.tsx';

export interface LoadedProps<T> {
  readonly query: Pick<UseQueryResult<T>, 'data' | 'error' | 'refetch'>;
  readonly children: (data: T) => ReactNode;
}

export function Loaded<T>({ query: { data, error, refetch }, children }: LoadedProps<T>) {
  return (
    <>
      {error !== null && <Failure error={error} retry={() => void refetch()} />}
      {data === undefined && error === null && (
        <Center py={64}>
          <Loader aria-label="Loading" />
        </Center>
      )}
      {data !== undefined && children(data)}
    </>
  );
}
