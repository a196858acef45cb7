/** Two texts line by line. Loaded with the first diff. */
import { Chunk } from '@codemirror/merge';
import { Text } from '@codemirror/state';

export interface DiffLine {
  readonly kind: 'same' | 'gone' | 'new';
  readonly text: string;
  /** Line numbers in the old and the new text, from 1. */
  readonly before: number | undefined;
  readonly after: number | undefined;
}

export function lineDiff(before: string, after: string): DiffLine[] {
  const old = before.split('\n');
  const young = after.split('\n');
  const [a, b] = [Text.of(old), Text.of(young)];
  const lines: DiffLine[] = [];
  let [atOld, atYoung] = [0, 0];
  const same = (until: number) => {
    for (; atOld < until; atOld++, atYoung++) {
      lines.push({ kind: 'same', text: old[atOld] ?? '', before: atOld + 1, after: atYoung + 1 });
    }
  };
  for (const chunk of Chunk.build(a, b)) {
    same(a.lineAt(Math.min(chunk.fromA, a.length)).number - 1);
    const oldEnd = chunk.fromA === chunk.toA ? atOld : a.lineAt(Math.min(chunk.endA, a.length)).number;
    const youngEnd = chunk.fromB === chunk.toB ? atYoung : b.lineAt(Math.min(chunk.endB, b.length)).number;
    for (; atOld < oldEnd; atOld++)
      lines.push({ kind: 'gone', text: old[atOld] ?? '', before: atOld + 1, after: undefined });
    for (; atYoung < youngEnd; atYoung++)
      lines.push({ kind: 'new', text: young[atYoung] ?? '', before: undefined, after: atYoung + 1 });
  }
  same(old.length);
  return lines;
}
