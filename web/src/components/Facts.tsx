/** Names and values, one under the other. */
import { Text } from '@mantine/core';
import type { ReactNode } from 'react';
import './Facts.css';

export type Fact = readonly [name: string, value: ReactNode];

export function Facts({ facts }: { readonly facts: readonly Fact[] }) {
  return (
    <dl className="fact-grid">
      {facts.map(([name, value]) => (
        <div key={name} className="fact-item">
          <Text component="dt" size="xs" c="dimmed">
            {name}
          </Text>
          <Text component="dd" size="sm" className="break fact-value">
            {value}
          </Text>
        </div>
      ))}
    </dl>
  );
}
