/**
 * Code to be read and signed. Every character of it is on the page, in the order in which it runs: nothing hidden,
 * nothing reordered by scripts of the other direction. Long code is cut until somebody asks for the rest.
 */
import { Alert, Button, CopyButton } from '@mantine/core';
import { IconEye } from '@tabler/icons-react';
import { useEffect, useState } from 'react';
import type { CodeLanguage, CodeSpan } from '../lib/highlight.ts';
import { oddCounts } from '../lib/odd-characters.ts';
import { plural } from '../lib/format.ts';
import { Pieces } from './Plain.tsx';

export interface CodeProps {
  readonly text: string;
  readonly language: CodeLanguage;
  /** What it is, for those who do not see it. */
  readonly label: string;
  /** Lines that are shown at first. */
  readonly lines?: number;
}

/** Beyond this, colours would cost more than they help. */
const maxColoured = 200_000;
const maxLineLength = 2_000;

export function Code({ text, language, label, lines = 30 }: CodeProps) {
  const [isWhole, setWhole] = useState(false);
  const lineCount = text.split('\n').length;
  const cutAt = isWhole ? text.length : cutOf(text, lines);
  const isCut = cutAt < text.length;
  const spans = useSpans(text, language);
  return (
    <div>
      <OddWarning text={text} />
      <div className="code-frame">
        {/* A region that scrolls has to be reachable without a mouse. */}
        {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
        <pre className="code" tabIndex={0} role="region" aria-label={label}>
          <code>
            {spans
              .filter(({ from }) => from < cutAt)
              .map(({ from, to, classes }) => (
                <span key={from} className={classes}>
                  <Pieces text={text.slice(from, Math.min(to, cutAt))} isCode />
                </span>
              ))}
          </code>
        </pre>
        <CopyButton value={text}>
          {({ copied, copy }) => (
            <Button size="compact-xs" variant="default" className="code-copy" onClick={copy}>
              {copied ? 'Copied' : 'Copy'}
            </Button>
          )}
        </CopyButton>
      </div>
      {(isCut || isWhole) && lineCount + text.length / maxLineLength > lines && (
        <Button variant="light" size="xs" mt="xs" onClick={() => setWhole(!isWhole)} aria-expanded={isWhole}>
          {isWhole
            ? 'Show less'
            : `Show all ${plural(lineCount, 'line')}, ${plural(text.length, 'character')}: what is not shown here runs too`}
        </Button>
      )}
    </div>
  );
}

/** Where the first lines end; a line without an end is cut too. */
function cutOf(text: string, lines: number): number {
  let at = 0;
  for (let line = 0; line < lines; line++) {
    const end = text.indexOf('\n', at);
    if (end === -1) return Math.min(text.length, lines * maxLineLength);
    at = end + 1;
  }
  return Math.min(at - 1, lines * maxLineLength);
}

function useSpans(text: string, language: CodeLanguage): readonly CodeSpan[] {
  const [coloured, setColoured] = useState<{ text: string; spans: readonly CodeSpan[] }>();
  useEffect(() => {
    if (text.length > maxColoured) return undefined;
    let isCurrent = true;
    void import('../lib/highlight.ts').then(({ highlight }) => {
      if (isCurrent) setColoured({ text, spans: highlight(text, language) });
    });
    return () => {
      isCurrent = false;
    };
  }, [text, language]);
  return coloured?.text === text ? coloured.spans : [{ from: 0, to: text.length, classes: '' }];
}

export function OddWarning({ text }: { readonly text: string }) {
  const { hidden, lookalike } = oddCounts(text);
  if (hidden === 0 && lookalike === 0) return null;
  const said = [
    ...(hidden > 0
      ? [`${plural(hidden, 'character')} that would not be seen, shown by ${hidden === 1 ? 'its' : 'their'} code`]
      : []),
    ...(lookalike > 0 ? [`${plural(lookalike, 'character')} that can be taken for another, marked`] : []),
  ];
  return (
    <Alert color="orange" icon={<IconEye aria-hidden />} mb="xs" title="Look closely at this text">
      It holds {said.join(', and ')}.
    </Alert>
  );
}
