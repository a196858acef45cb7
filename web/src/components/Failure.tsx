/** What went wrong, as the server says it: what, why, what to do next, and the code to look up. */
import { Alert, Button, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { ApiError } from '../lib/api.ts';

export function Failure({ error, retry }: { readonly error: Error; readonly retry?: () => void }) {
  const said = error instanceof ApiError ? error : undefined;
  return (
    <Alert color="red" variant="light" icon={<IconAlertTriangle aria-hidden />} title={error.message} role="alert">
      {said?.detail !== undefined && <Text size="sm">{said.detail}</Text>}
      {said?.hint !== undefined && <Text size="sm">{said.hint}</Text>}
      {said !== undefined && (
        <Text size="xs" c="dimmed" className="mono" mt={4}>
          {said.code}
        </Text>
      )}
      {retry !== undefined && (
        <Button mt="sm" size="xs" variant="default" onClick={retry}>
          Try again
        </Button>
      )}
    </Alert>
  );
}
