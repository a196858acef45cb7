/**
 * What a COPY OUT returns. The protocol does not say where its columns come from, so the target is asked to describe a
 * query with the same columns, under the same snapshot of names, right before the COPY: then the same three nets hold
 * its data as every other result.
 */
import { CountersignError } from '../errors.ts';
import { compileCopyMasker, copyAsItIs, type CopyMasker } from '../masking/copy.ts';
import type { CopyResponse, ResultColumn } from '../wire/postgres/backend.ts';
import { encodeClose, encodeDescribe, encodeParse, encodeSync } from '../wire/postgres/frontend.ts';
import type { ByteSink } from '../lib/byte-sink.ts';
import type { AdmittedStatement } from './admission.ts';
import type { CopyProbe, Execution, Pipeline } from './pipeline.ts';

/** Of the prepared statement at the target. If a client has one of this name, the target refuses ours, and so the COPY. */
const statementName = 'countersign_copy_probe';

/** @returns undefined when nothing on the connection is masked */
export function copyProbeOf(execution: Execution, of: CopyProbe['of']): CopyProbe | undefined {
  const [statement] = execution.statements;
  if (statement?.facts.copyOut === undefined || !statement.results.canMask) return undefined;
  execution.probe = { of, execution, columns: undefined, failure: undefined, done: false };
  return execution.probe;
}

/** Queues the question; in the extended protocol it is part of the client's batch. */
export function encodeCopyProbe(probe: CopyProbe, pipeline: Pipeline, sink: ByteSink): void {
  const query = probe.execution.statements[0]?.facts.copyOut?.query ?? '';
  encodeParse(sink, { name: statementName, query, parameterTypes: [] });
  encodeDescribe(sink, 'S', statementName);
  encodeClose(sink, 'S', statementName);
  for (const step of ['parse', 'describe', 'close'] as const) pipeline.push({ kind: 'probe', probe, step });
  if (probe.of === 'execute') return;
  encodeSync(sink);
  pipeline.push({ kind: 'probe', probe, step: 'sync' });
}

/** @throws CountersignError `lineage_unresolved` when it cannot be told what to mask */
export function copyMaskerOf(statement: AdmittedStatement, execution: Execution, response: CopyResponse): CopyMasker {
  const { copyOut } = statement.facts;
  if (copyOut === undefined) {
    if (statement.results.canMask) throw new Error('the target sends the data of a COPY that was not seen in the text');
    return copyAsItIs;
  }
  const { columnFormats, format } = response;
  if ((copyOut.format === 'binary') !== (format === 1) || columnFormats.some((one) => one !== format)) {
    throw new Error('the target sends a COPY in another layout than its text says');
  }
  if (!statement.results.canMask) return compileCopyMasker(copyOut, columnFormats.length, passThrough);
  const { probe } = execution;
  if (probe?.columns === undefined) throw new Error('the columns of a COPY are not known');
  const described = probe.columns.filter(
    (column) => !(column.tableOid !== 0 && copyOut.leftOut.includes(column.attnum)),
  );
  if (described.length !== columnFormats.length) {
    throw new CountersignError(
      'lineage_unresolved',
      `countersign: the target copies ${columnFormats.length} columns where ${described.length} were described`,
      { hint: 'the table was changed a moment ago; try again' },
    );
  }
  const columns = described.map((column): ResultColumn => ({ ...column, format }));
  return compileCopyMasker(copyOut, columns.length, statement.results.compile(columns));
}

const passThrough = {
  passThrough: true,
  maskDataRow: () => 0,
  maskRun: () => ({ end: 0, rows: 0, maskedCells: 0 }),
  streamed: () => [],
};
