/**
 * SQL text + catalogue -> what each statement does, touches and returns, as plain data. For: policy, masking and the
 * job planner. Not for: deciding anything. What is not understood is said in the facts (`unknowns`, `unresolved`), and a
 * fault of ours in understanding counts as not understood.
 */
import { rowsAtMost } from './bounds.ts';
import { copyOutOf } from './copy-out.ts';
import type { Effects } from './effect.ts';
import { effectsOf } from './effects.ts';
import { lineageOf } from './lineage.ts';
import { parseStatements, type ParsedStatement } from './parse.ts';
import { isStoredDefault, readsStoredDefaults } from './system-relations.ts';
import { bodyIf } from './tree.ts';
import type { Uses } from './uses.ts';
import type { Catalogue, CopyOut, Lineage, StatementFacts, StatementFault } from './statement.ts';

const nothing = {
  command: '',
  relations: [],
  unknowns: [],
  rowsAtMost: undefined,
  paging: false,
  parameters: 0,
  setting: undefined,
  transaction: undefined,
  cursor: undefined,
  prepared: undefined,
  temporary: undefined,
  copyOut: undefined,
  constantFree: false,
} as const;

const missingRelation = /^relation \S+ is not in the catalogue$/;

/** One entry per statement; exactly one of class `unknown` for a text that cannot be parsed, of class `empty` for none. */
export function analyse(
  text: string,
  catalogue: Catalogue,
  options: { readonly maxBytes: number },
): readonly StatementFacts[] {
  const parsed = parseStatements(text, options);
  if (!parsed.ok) {
    const { reason, position, isSyntax } = parsed;
    const facts = notUnderstood(text, reason);
    if (isSyntax !== true) return [facts];
    const place = position === undefined ? undefined : Array.from(text.slice(0, position)).length + 1;
    return [{ ...facts, fault: { kind: 'syntax', message: reason, position: place } }];
  }
  if (parsed.statements.length === 0) {
    return [
      {
        ...nothing,
        class: 'empty',
        text: text.trim(),
        rowsAtMost: 0,
        lineage: { resolved: true, outputs: [], predicates: [], nullTests: [], equalities: [] },
      },
    ];
  }
  return parsed.statements.map((statement) => factsOf(statement, catalogue));
}

function notUnderstood(text: string, reason: string): StatementFacts {
  return { ...nothing, class: 'unknown', text, unknowns: [reason], lineage: { resolved: false, reason } };
}

function factsOf(statement: ParsedStatement, catalogue: Catalogue): StatementFacts {
  try {
    return understand(statement, catalogue);
  } catch (error) {
    // A tree that is deeper than our stack.
    if (error instanceof RangeError) return notUnderstood(statement.text, 'the statement is nested too deeply');
    throw error;
  }
}

function understand({ tree, text }: ParsedStatement, catalogue: Catalogue): StatementFacts {
  const effects = effectsOf(tree, catalogue);
  const { uses } = effects;
  const unknowns = [...uses.unknowns];
  let copyOut: CopyOut | undefined;
  if (effects.class === 'copy-out' && unknowns.length === 0) {
    const { shape } = effects;
    const made = copyOutOf(tree, text, shape.kind === 'copy-table' ? shape.relation : undefined);
    if (typeof made === 'string') unknowns.push(made);
    else copyOut = made;
  }
  const [firstUnknown] = unknowns;
  const lineage: Lineage =
    firstUnknown === undefined ? lineageOf(effects.shape, catalogue) : { resolved: false, reason: firstUnknown };
  const fault = faultOf(unknowns, effects);
  if (lineage.resolved ? lineage.predicates.some(isStoredDefault) : uses.relations.some(readsStoredDefaults)) {
    unknowns.push('pg_attribute.attmissingval may hold data');
  }
  if (!lineage.resolved) {
    for (const name of callLike(uses, catalogue)) unknowns.push(`${name} may be a function`);
  }
  return {
    class: effects.class,
    command: effects.command,
    text,
    relations: uses.relations,
    unknowns,
    fault,
    rowsAtMost: effects.cursor?.action === 'fetch' ? undefined : rowsOf(effects.class, tree),
    paging: uses.paging,
    parameters: uses.parameters,
    lineage,
    setting: effects.setting,
    transaction: effects.transaction,
    cursor: effects.cursor,
    prepared: effects.prepared,
    temporary: named(effects, lineage, catalogue),
    copyOut,
    constantFree:
      (effects.class === 'read' || effects.class === 'write') &&
      effects.shape.kind === 'query' &&
      effects.prepared === undefined &&
      unknowns.length === 0 &&
      lineage.resolved,
  };
}

/** What stands behind a dot and is no column for certain. */
function callLike(uses: Uses, catalogue: Catalogue): readonly string[] {
  const columns = new Set(
    uses.relations.flatMap(({ oid }) => (catalogue.relationByOid(oid)?.columns ?? []).map((column) => column.name)),
  );
  return [...uses.callLike, ...uses.dotted.filter((name) => !columns.has(name))];
}

function faultOf(unknowns: readonly string[], { prepared }: Effects): StatementFault | undefined {
  const [missing] = unknowns;
  if (missing === undefined) return undefined;
  if (prepared?.action === 'execute' && unknowns.length === 1) {
    const message = `prepared statement "${prepared.name}" does not exist`;
    return { kind: 'prepared-statement', message, position: undefined };
  }
  if (!unknowns.every((reason) => missingRelation.test(reason))) return undefined;
  return { kind: 'relation', message: missing, position: undefined };
}

/** A table that is filled by a query, and was not told how to name its columns, takes the names of the query's. */
function named({ temporary, shape }: Effects, lineage: Lineage, catalogue: Catalogue): StatementFacts['temporary'] {
  if (temporary?.action !== 'create' || shape.kind !== 'stored') return temporary;
  const query = lineage.resolved ? lineageOf({ kind: 'query', query: shape.query }, catalogue) : lineage;
  if (!query.resolved) return { ...temporary, columns: undefined };
  const columns = query.outputs.map((output, index) => temporary.columns?.[index] ?? output.name);
  return { ...temporary, columns };
}

function rowsOf(statementClass: StatementFacts['class'], whole: ParsedStatement['tree']): number | undefined {
  const tree = bodyIf(whole, 'PrepareStmt')?.query ?? whole;
  switch (statementClass) {
    case 'read':
    case 'write':
      return 'TruncateStmt' in tree ? 0 : rowsAtMost(bodyIf(tree, 'DeclareCursorStmt')?.query ?? tree);
    case 'ddl':
    case 'copy-in':
    case 'transaction':
    case 'setting':
    case 'session':
    case 'empty':
      if ('SelectStmt' in tree) return rowsAtMost(tree);
      return 'ExplainStmt' in tree ? undefined : 0;
    case 'copy-out':
    case 'show':
    case 'explain':
    case 'unknown':
      return undefined;
    default:
      statementClass satisfies never;
      return undefined;
  }
}
