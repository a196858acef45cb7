/** A place that one duty opens: for everybody else it says so, before anything is asked. The server decides all the same. */
import { IconLock } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { dutiesOf, useWho, type Duty } from '../lib/who.ts';
import { Empty } from './Empty.tsx';

export interface OnlyForProps {
  readonly duty: Duty | readonly Duty[];
  readonly what: string;
  readonly children: ReactNode;
}

export function OnlyFor({ duty, what, children }: OnlyForProps) {
  const held = dutiesOf(useWho());
  const wanted: readonly Duty[] = typeof duty === 'string' ? [duty] : duty;
  if (wanted.some((one) => held.includes(one))) return children;
  return (
    <Empty icon={<IconLock />} title={`${what} are for the duty ${wanted.join(' or ')}`}>
      {held.length === 0 ? 'You hold no duty.' : `Yours: ${held.join(', ')}.`} Duties come from groups of the identity
      provider.
    </Empty>
  );
}
