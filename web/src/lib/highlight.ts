/** Colours for SQL, YAML and Cedar: spans of one class each. Loaded when the first code is shown. */
import { PostgreSQL } from '@codemirror/lang-sql';
import { yamlLanguage } from '@codemirror/lang-yaml';
import { classHighlighter, highlightTree } from '@lezer/highlight';
import { cedarSpans } from './cedar.ts';

export type CodeLanguage = 'sql' | 'yaml' | 'cedar';

export interface CodeSpan {
  readonly from: number;
  readonly to: number;
  /** Classes `tok-…`, or empty. */
  readonly classes: string;
}

/** Spans in order that cover the whole text. */
export function highlight(text: string, language: CodeLanguage): CodeSpan[] {
  if (language === 'cedar') return cedarSpans(text);
  const { parser } = language === 'sql' ? PostgreSQL.language : yamlLanguage;
  const spans: CodeSpan[] = [];
  let at = 0;
  highlightTree(parser.parse(text), classHighlighter, (from, to, classes) => {
    if (from > at) spans.push({ from: at, to: from, classes: '' });
    spans.push({ from, to, classes });
    at = to;
  });
  if (at < text.length) spans.push({ from: at, to: text.length, classes: '' });
  return spans;
}
