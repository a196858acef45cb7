/** What is wrong with a text, line by line. */
import { Alert, List } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';

export interface Problem {
  /** From 1. */
  readonly line: number;
  readonly message: string;
}

export function Problems({ title, problems }: { readonly title: string; readonly problems: readonly Problem[] }) {
  return (
    <Alert color="red" variant="light" icon={<IconAlertTriangle aria-hidden />} title={title} role="alert">
      <List size="sm">
        {problems.map((problem, index) => (
          <List.Item key={index}>
            <b>Line {problem.line}:</b> {problem.message}
          </List.Item>
        ))}
      </List>
    </Alert>
  );
}
