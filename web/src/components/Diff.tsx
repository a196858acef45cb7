/** What changed between two texts; unchanged parts are folded away. */
import { Loader, Text } from '@mantine/core';
import { Fragment, useEffect, useState } from 'react';
import { plural } from '../lib/format.ts';
import type { DiffLine } from '../lib/line-diff.ts';
import { OddWarning } from './Code.tsx';
import { Pieces } from './Plain.tsx';

export interface DiffProps {
  readonly before: string;
  readonly after: string;
  /** What is compared, for those who do not see it. */
  readonly label: string;
}

const contextLines = 3;
const signs = { same: ' ', gone: '−', new: '+' } as const;
const words = { same: '', gone: 'removed: ', new: 'added: ' } as const;

export function Diff({ before, after, label }: DiffProps) {
  const [lines, setLines] = useState<readonly DiffLine[]>();
  useEffect(() => {
    let isCurrent = true;
    void import('../lib/line-diff.ts').then(({ lineDiff }) => {
      if (isCurrent) setLines(lineDiff(before, after));
    });
    return () => {
      isCurrent = false;
    };
  }, [before, after]);
  if (before === after) return <Text>Nothing changed: the texts are equal, byte for byte.</Text>;
  if (lines === undefined) return <Loader size="sm" aria-label="Comparing" />;
  return (
    <div>
      <OddWarning text={after} />
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls */}
      <pre className="code diff" tabIndex={0} role="region" aria-label={label}>
        {folded(lines).map((line, index) =>
          'count' in line ? (
            <div key={index} className="diff-fold">
              {plural(line.count, 'line')} unchanged
            </div>
          ) : (
            <div key={index} className={`diff-line diff-${line.kind}`}>
              <span className="diff-number" aria-hidden>
                {line.after ?? line.before}
              </span>
              <span aria-hidden>{signs[line.kind]} </span>
              <Fragment>
                {line.kind !== 'same' && <span className="only-read">{words[line.kind]}</span>}
                <Pieces text={line.text} isCode />
              </Fragment>
            </div>
          ),
        )}
      </pre>
    </div>
  );
}

/** Runs of unchanged lines that are far from any change become one. */
function folded(lines: readonly DiffLine[]): readonly (DiffLine | { readonly count: number })[] {
  const isNear = (at: number) =>
    lines.slice(Math.max(0, at - contextLines), at + contextLines + 1).some(({ kind }) => kind !== 'same');
  const shown: (DiffLine | { count: number })[] = [];
  lines.forEach((line, at) => {
    if (isNear(at)) {
      shown.push(line);
      return;
    }
    const last = shown.at(-1);
    if (last !== undefined && 'count' in last) last.count += 1;
    else shown.push({ count: 1 });
  });
  return shown;
}
