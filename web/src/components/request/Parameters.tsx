/** The values that are bound to a statement's parameters. */
import { Text } from '@mantine/core';
import { Plain } from '../Plain.tsx';

export function Parameters({ values }: { readonly values: readonly (string | null)[] | undefined }) {
  if (values === undefined || values.length === 0) return null;
  return (
    <dl className="parameters">
      {values.map((value, index) => (
        <div key={index}>
          <Text component="dt" size="sm" c="dimmed" className="mono">
            ${index + 1}
          </Text>
          <dd className="mono break">{value === null ? 'NULL' : <Plain text={value} />}</dd>
        </div>
      ))}
    </dl>
  );
}
