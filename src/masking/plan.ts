/**
 * What happens to each column of one result: the decision per column that is then carried out per cell. Three nets, and
 * the widest wins: the origin that the server states in RowDescription, the lineage that we read from the statement,
 * and the content. Where the first two contradict each other, our picture of the target is wrong, and nothing is shown.
 */
import { CountersignError } from '../errors.ts';
import type { ColumnRef, Lineage, OutputColumn } from '../sql/statement.ts';
import { isStoredDefault } from '../sql/system-relations.ts';
import type { ResultColumn } from '../wire/postgres/backend.ts';
import { compileCellDetector, holdsAddresses } from './detect-cell.ts';
import type { CompiledDetectors } from './detectors.ts';
import type { KeyedHash } from './digests.ts';
import type { MaskIndex } from './mask-index.ts';
import { firstUserOid } from './type-oids.ts';
import { strongerRule, type ColumnRule, type ConnectionMasking, type MaskSpec } from './policy.ts';

interface CellForm {
  readonly typeOid: number;
  readonly format: 0 | 1;
}

export type ColumnAction =
  | ({ readonly kind: 'pass' } & CellForm)
  | ({ readonly kind: 'detect'; readonly detectors: CompiledDetectors } & CellForm)
  | ({
      readonly kind: 'mask';
      readonly mask: MaskSpec;
      readonly ruleId: string;
      readonly hash: KeyedHash;
      /** NULL is masked, too: in an expression, whether it is NULL can be made to say anything about the value. */
      readonly hidesNull: boolean;
    } & CellForm);

export interface ResultToPlan {
  readonly columns: readonly ResultColumn[];
  readonly lineage: Lineage | undefined;
  /** Does the statement's relation closure touch a masked relation? */
  readonly relationsTouchMasked: boolean;
  readonly index: MaskIndex;
  readonly masking: ConnectionMasking;
}

/** @throws CountersignError `lineage_unresolved` when it cannot be told which columns to mask */
export function planColumns(result: ResultToPlan): ColumnAction[] {
  const outputs = resolvedOutputs(result);
  return result.columns.map((column, position) => {
    const output = outputs?.[position];
    const stored = storedDefaultRule(position, result);
    const rule = strongerRule(stored, strongerRule(originRule(column, result), lineageRule(column, output, result)));
    if (rule === undefined) return contentAction(column, result.masking);
    const { typeOid, format } = column;
    const hidesNull = stored !== undefined || (output !== undefined && !isColumnItself(output));
    return { kind: 'mask', mask: rule.mask, ruleId: rule.id, hash: result.masking.hash, hidesNull, typeOid, format };
  });
}

const storedDefault: ColumnRule = { id: 'countersign/stored-default', mask: 'null' };

/** A value that ADD COLUMN … DEFAULT gave to the rows that were there, of whatever column, is data in the catalogue. */
function storedDefaultRule(position: number, { lineage, columns, masking }: ResultToPlan): ColumnRule | undefined {
  if (lineage?.resolved !== true || !(masking.hasColumnRules || masking.detectors.active)) return undefined;
  const { outputs } = lineage;
  const reads = (output: OutputColumn | undefined) => output?.sources.some(isStoredDefault) === true;
  if (outputs.length !== columns.length && outputs.some(reads)) {
    throw unresolved(`the target returns ${columns.length} columns where the text says ${outputs.length}`);
  }
  return reads(outputs[position]) ? storedDefault : undefined;
}

function resolvedOutputs({
  lineage,
  relationsTouchMasked,
  columns,
}: ResultToPlan): readonly OutputColumn[] | undefined {
  if (!relationsTouchMasked) return undefined;
  if (lineage === undefined || !lineage.resolved) {
    throw unresolved(lineage === undefined ? 'the statement was not analysed' : lineage.reason);
  }
  if (lineage.outputs.length !== columns.length) {
    throw unresolved(
      `the target returns ${columns.length} columns where the statement's text says ${lineage.outputs.length}`,
    );
  }
  return lineage.outputs;
}

function originRule(column: ResultColumn, { index, relationsTouchMasked }: ResultToPlan): ColumnRule | undefined {
  if (column.tableOid === 0) return undefined;
  if (!index.knows(column.tableOid))
    throw unresolved(`column ${JSON.stringify(column.name)} comes from a relation that the catalogue does not have`);
  if (!index.touches(column.tableOid)) return undefined;
  if (!relationsTouchMasked) {
    throw unresolved(
      `column ${JSON.stringify(column.name)} comes from a masked relation that was not seen in the statement's text`,
    );
  }
  // Number 0 is the whole row; negative ones are system columns, which hold no user's data.
  return column.attnum === 0 ? index.wholeRowRule(column.tableOid) : index.rule(column.tableOid, column.attnum);
}

function lineageRule(
  column: ResultColumn,
  output: OutputColumn | undefined,
  { index }: ResultToPlan,
): ColumnRule | undefined {
  if (output === undefined) return undefined;
  checkOrigin(column, output, index);
  let strongest: ColumnRule | undefined;
  for (const source of output.sources)
    strongest = strongerRule(strongest, index.rule(source.relationOid, source.attnum));
  if (strongest === undefined || isColumnItself(output)) return strongest;
  // Part of an expression, a column's own mask would not mean anything: the whole value is withheld.
  return strongerRule(strongest, { id: strongest.id, mask: 'redact' });
}

/** The server's word on where a column comes from must agree with our reading of the text. */
function checkOrigin(column: ResultColumn, output: OutputColumn, index: MaskIndex): void {
  // Expressions, whole rows and system relations, whose views are not unfolded everywhere.
  if (column.tableOid < firstUserOid || column.attnum <= 0) return;
  const agrees = (source: ColumnRef): boolean =>
    (source.relationOid === column.tableOid && source.attnum === column.attnum) ||
    index.derivesFrom(column.tableOid, column.attnum, source);
  if (output.verbatim ? output.sources.every(agrees) : output.sources.some(agrees) || output.sources.length === 0)
    return;
  throw unresolved(
    `the target says that column ${JSON.stringify(column.name)} comes from another place than the statement's text does`,
  );
}

function isColumnItself(output: OutputColumn): boolean {
  return output.verbatim && output.sources.length === 1;
}

/** What happens to a column that no rule names. */
export function contentAction(column: CellForm, masking: ConnectionMasking): ColumnAction {
  const { typeOid, format } = column;
  const { detectors } = masking;
  if (holdsAddresses(typeOid) && detectors.names.includes('ip')) {
    return {
      kind: 'mask',
      mask: 'null',
      ruleId: 'detectors/ip',
      hash: masking.hash,
      hidesNull: false,
      typeOid,
      format,
    };
  }
  if (compileCellDetector(typeOid, format, detectors) === undefined) return { kind: 'pass', typeOid, format };
  return { kind: 'detect', detectors, typeOid, format };
}

function unresolved(reason: string): CountersignError {
  return new CountersignError(
    'lineage_unresolved',
    `cannot tell which columns of the result must be masked: ${reason}`,
    {
      hint: 'if the target was changed a moment ago, try again; otherwise name the columns without whole-row references and dynamic SQL',
    },
  );
}
