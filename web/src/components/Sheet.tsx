/** A table of things, in a card; it scrolls by itself where the screen is narrow. */
import { Table } from '@mantine/core';
import type { ReactNode } from 'react';
import './Sheet.css';

export interface SheetProps {
  /** What the table is, for whoever does not see it. */
  readonly label: string;
  readonly head: readonly ReactNode[];
  readonly children: ReactNode;
  /** Below this width of the screen it scrolls. */
  readonly minWidth?: number;
}

export function Sheet({ label, head, children, minWidth = 640 }: SheetProps) {
  return (
    <Table.ScrollContainer
      minWidth={minWidth}
      className="card sheet"
      type="native"
      tabIndex={0}
      role="region"
      aria-label={label}
    >
      <Table aria-label={label} verticalSpacing="xs" horizontalSpacing="md" highlightOnHover>
        <Table.Thead>
          <Table.Tr>
            {head.map((one, index) => (
              <Table.Th key={index} fz="xs" c="dimmed" fw={600}>
                {one}
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>{children}</Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
