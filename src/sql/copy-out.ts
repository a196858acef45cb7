/**
 * COPY … TO STDOUT: how its data is laid out, and a query with the same columns. The protocol says nothing about the
 * columns of a COPY, so whoever masks it lets the target describe that query first.
 */
import type { Node, RangeVar } from 'libpg-query';
import { parseStatements } from './parse.ts';
import type { CatalogueRelation, CopyOut } from './statement.ts';
import { bodyIf, stringOf, stringsOf, type Tree } from './tree.ts';

/** Closing parentheses that are tried, from the last one, to find where the query ends. */
const maxEndings = 50;

const defaults = {
  text: { delimiter: '\t', nullText: '\\N' },
  csv: { delimiter: ',', nullText: '' },
  binary: { delimiter: '', nullText: '' },
} as const;

/** @returns a text: why the COPY is not understood */
export function copyOutOf(tree: Node, text: string, relation: CatalogueRelation | undefined): CopyOut | string {
  const body = bodyIf(tree, 'CopyStmt') as Tree | undefined;
  if (body === undefined) return 'not a COPY';
  const layout = layoutOf((body['options'] ?? []) as Node[]);
  if (typeof layout === 'string') return layout;
  if (relation === undefined) {
    const query = queryText(text, body['query']);
    return query === undefined ? 'the query of a COPY was not found in its text' : { ...layout, query, leftOut: [] };
  }
  const columns = stringsOf(body['attlist'] as Node[] | undefined);
  const { schemaname, relname } = body['relation'] as RangeVar;
  const name = [schemaname, relname].filter((part) => part !== undefined).map((part) => quoted(part));
  const list = columns.length === 0 ? '*' : columns.map((column) => quoted(column)).join(', ');
  const query = `select ${list} from ${name.join('.')}`;
  const generated = relation.columns.filter((column) => column.generatedFrom !== undefined);
  return { ...layout, query, leftOut: columns.length === 0 ? generated.map((column) => column.attnum) : [] };
}

type Layout = Omit<CopyOut, 'query' | 'leftOut'>;

function layoutOf(options: readonly Node[]): Layout | string {
  const given = new Map<string, Node | undefined>();
  for (const option of options) {
    const element = bodyIf(option, 'DefElem');
    if (element?.defname === undefined) return 'an option of COPY that has no name';
    if (given.has(element.defname)) return `COPY option ${element.defname} is given twice`;
    given.set(element.defname, element.arg);
  }
  const format = given.has('format') ? stringOf(given.get('format')) : 'text';
  if (format !== 'text' && format !== 'csv' && format !== 'binary') return 'a COPY format that is not known';
  const layout: Record<string, string> = { ...defaults[format], quote: '"', escape: '"' };
  let header = false;
  for (const [name, value] of given) {
    switch (name) {
      case 'format':
      case 'force_quote':
        break;
      case 'header':
        header = isOn(value);
        break;
      case 'delimiter':
      case 'null':
      case 'quote':
      case 'escape': {
        const text = stringOf(value);
        if (text === undefined) return `COPY option ${name} is no text`;
        layout[name === 'null' ? 'nullText' : name] = text;
        break;
      }
      case 'encoding':
        if (!/^utf-?8$/i.test(stringOf(value) ?? '')) return 'COPY in another encoding than UTF8';
        break;
      default:
        return `COPY option ${name} is not known`;
    }
  }
  if (given.has('quote') && !given.has('escape')) layout['escape'] = layout['quote'] ?? '"';
  const { delimiter = '', nullText = '', quote = '', escape = '' } = layout;
  if (format !== 'binary') {
    for (const mark of [delimiter, quote, escape]) {
      if (mark.length !== 1 || mark.charCodeAt(0) > 127) return 'a COPY mark that is not one ASCII character';
    }
  }
  return { format, delimiter, nullText, header: header && format !== 'binary', quote, escape };
}

/** As PostgreSQL reads a boolean option; without a value it is on. `match` is for COPY FROM, and the target refuses it. */
function isOn(value: Node | undefined): boolean {
  if (value === undefined) return true;
  const truth = bodyIf(value, 'Boolean');
  if (truth !== undefined) return truth.boolval === true;
  const number = bodyIf(value, 'Integer');
  if (number !== undefined) return number.ival === 1;
  return /^(true|on|1)$/i.test(stringOf(value) ?? '');
}

/** The text between the parentheses whose tree is exactly the query that was parsed. */
function queryText(text: string, query: unknown): string | undefined {
  const expected = withoutLocations(query);
  const start = text.indexOf('(') + 1;
  if (start === 0) return undefined;
  let end = text.length;
  for (let tries = 0; tries < maxEndings; tries++) {
    end = text.lastIndexOf(')', end - 1);
    if (end < start) return undefined;
    const inner = text.slice(start, end);
    const parsed = parseStatements(inner, { maxBytes: Number.MAX_SAFE_INTEGER });
    const only = parsed.ok && parsed.statements.length === 1 ? parsed.statements[0] : undefined;
    if (only !== undefined && withoutLocations(only.tree) === expected) return inner;
  }
  return undefined;
}

/** Fields that say where in the text something stands. A field that is missing here only makes a COPY be refused. */
const placeFields = /location$|^stmt_len$|list_(start|end)$/;

function withoutLocations(tree: unknown): string {
  return JSON.stringify(tree, (field, value: unknown) => (placeFields.test(field) ? undefined : value));
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
