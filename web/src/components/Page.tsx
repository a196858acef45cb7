/** The one shape of every page: title, what it is for, actions, filters, content. Filters live in the URL. */
import { Group, Stack, Text, Title } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import type { ReactNode } from 'react';

export interface PageProps {
  readonly title: string;
  /** One sentence below the title. */
  readonly lead?: ReactNode;
  /** Buttons, at the right of the title. */
  readonly actions?: ReactNode;
  /** Tabs and fields that narrow down what is shown. */
  readonly filters?: ReactNode;
  readonly children: ReactNode;
}

export function Page({ title, lead, actions, filters, children }: PageProps) {
  useDocumentTitle(`${title} · Countersign`);
  return (
    <Stack gap="lg">
      <Group justify="space-between" align="flex-start" gap="md">
        <Stack gap={4} flex="1 1 16rem" miw={0}>
          <Title order={1} className="break">
            {title}
          </Title>
          {lead !== undefined && (
            <Text c="dimmed" component="div">
              {lead}
            </Text>
          )}
        </Stack>
        {actions !== undefined && <Group gap="xs">{actions}</Group>}
      </Group>
      {filters}
      {children}
    </Stack>
  );
}
