/** A page that failed to load or to draw; most often the gateway was updated while it was open. */
import { Button, Container, Stack, Text, Title } from '@mantine/core';
import { useRouteError } from 'react-router';

export function Crash() {
  const error = useRouteError();
  return (
    <Container size="xs" py={80} component="main">
      <Stack>
        <Title order={1}>This page stopped</Title>
        <Text>
          Nothing was decided or sent by it. If the gateway was updated meanwhile, loading it again is enough.
        </Text>
        <Text size="sm" c="dimmed" className="mono break">
          {error instanceof Error ? error.message : String(error)}
        </Text>
        <Button onClick={() => window.location.reload()}>Load it again</Button>
      </Stack>
    </Container>
  );
}
