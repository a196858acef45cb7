/** Cedar's words in colour: annotations, keywords, entities, strings, comments. Only for reading; the gateway parses by itself. */
import type { CodeSpan } from './highlight.ts';

const words =
  /(\/\/[^\n]*)|("(?:[^"\\\n]|\\.)*")|(@[A-Za-z_]\w*)|\b(permit|forbid|when|unless|in|is|has|like|if|then|else)\b|\b(principal|action|resource|context)\b|\b(true|false|\d+)\b|\b([A-Z]\w*(?:::[A-Z]\w*)*)(?=::")/g;
const classes = [
  'tok-comment',
  'tok-string',
  'tok-propertyName',
  'tok-keyword',
  'tok-name',
  'tok-number',
  'tok-typeName',
];

/** Spans in order that cover the whole text. */
export function cedarSpans(text: string): CodeSpan[] {
  const spans: CodeSpan[] = [];
  let at = 0;
  for (const match of text.matchAll(words)) {
    const kind = match.slice(1).findIndex((group) => group !== undefined);
    const to = match.index + match[0].length;
    if (match.index > at) spans.push({ from: at, to: match.index, classes: '' });
    spans.push({ from: match.index, to, classes: classes[kind] ?? '' });
    at = to;
  }
  if (at < text.length) spans.push({ from: at, to: text.length, classes: '' });
  return spans;
}
