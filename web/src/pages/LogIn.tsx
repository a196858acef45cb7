/** Shown in place of the page that was asked for; the address stays, so that the log-in leads back to it. */
import { Anchor, Button, Center, Loader, Stack, Text, Title } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useLocation } from 'react-router';
import { Failure } from '../components/Failure.tsx';
import { Seal } from '../components/Seal.tsx';
import { api, ApiError } from '../lib/api.ts';

interface Provider {
  readonly name: string;
  readonly title: string;
  readonly kind: 'oidc' | 'saml';
}

interface LogIn {
  readonly issuer: string;
  readonly providers?: readonly Provider[];
}

const problemCookie = 'countersign-login-problem';

/** Why the last log-in failed: the gateway leaves its words in a cookie, once, since an address could be made up by anybody. */
function takeProblem(): ApiError | undefined {
  const value = document.cookie
    .split('; ')
    .find((one) => one.startsWith(`${problemCookie}=`))
    ?.slice(problemCookie.length + 1);
  if (value === undefined) return undefined;
  document.cookie = `${problemCookie}=; path=/; max-age=0`;
  try {
    const bytes = Uint8Array.from(atob(value.replaceAll('-', '+').replaceAll('_', '/')), (one) => one.charCodeAt(0));
    return new ApiError(401, JSON.parse(new TextDecoder().decode(bytes)) as { code: string; message: string });
  } catch {
    return new ApiError(401, { code: 'authentication_failed', message: 'the log-in failed' });
  }
}

export function LogInPage() {
  useDocumentTitle('Log in · Countersign');
  const { pathname, search } = useLocation();
  const [problem] = useState(takeProblem);
  const { data, error, refetch } = useQuery({
    queryKey: ['login'],
    queryFn: ({ signal }) => api<LogIn>('/login', { signal }),
  });
  const address = (provider: string) =>
    `/auth/login?${new URLSearchParams({ provider, return: pathname === '/login' ? '/' : `${pathname}${search}` }).toString()}`;
  return (
    <Center mih="100vh" p="md" component="main">
      <Stack className="card" p="xl" gap="lg" w="100%" maw={420}>
        <Stack align="center" gap="xs">
          <Seal size={56} />
          <Title order={1}>Countersign</Title>
          <Text c="dimmed" ta="center">
            Who defines how data is read is never who lets it run.
          </Text>
        </Stack>
        {problem !== undefined && <Failure error={problem} />}
        {error !== null && <Failure error={error} retry={() => void refetch()} />}
        {data === undefined && error === null && <Loader mx="auto" />}
        {data?.providers?.map(({ name, title }) => (
          <Button key={name} component="a" href={address(name)} size="md">
            Log in with {title}
          </Button>
        ))}
        {data !== undefined && (data.providers ?? []).length === 0 && (
          <Text ta="center">
            No log-in for browsers is set up here. The command line has one:{' '}
            <Text span className="mono">
              countersign login
            </Text>
          </Text>
        )}
        <Text size="xs" c="dimmed" ta="center">
          Every log-in and every decision is in the log.{' '}
          <Anchor href="/api/v1/log/key" size="xs" underline="always">
            Its public key
          </Anchor>
        </Text>
      </Stack>
    </Center>
  );
}
