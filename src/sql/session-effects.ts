/** Statements that change what a session is: transactions, settings, cursors. */
import type { DeclareCursorStmt, Node, SelectStmt, TransactionStmt, VariableSetStmt } from 'libpg-query';
import { rest, session, unknown, type Effects, type Shape } from './effect.ts';
import { settingCallOf } from './set-config.ts';
import type { Catalogue, StatementFacts } from './statement.ts';
import { bodyIf, constantText } from './tree.ts';
import { collectUses, noUses } from './uses.ts';

export const closing = (name: string | undefined): Effects['cursor'] =>
  name === undefined ? { action: 'close-all' } : { action: 'close', name };

/** CURSOR_OPT_HOLD in PostgreSQL's parsenodes.h. */
const cursorOptionHold = 0x20;

/** It returns no rows itself, but opens all rows of its query to FETCH: so it counts as the query. */
export function declareCursor(body: DeclareCursorStmt, catalogue: Catalogue): Effects {
  const { portalname: name = '', options = 0, query: inner } = body;
  const command = 'DECLARE CURSOR';
  const uses = collectUses(inner, catalogue, session);
  const reads = !uses.modifies && !uses.locks && uses.signals === undefined;
  if (inner === undefined || bodyIf(inner, 'SelectStmt') === undefined || !reads || uses.into !== undefined) {
    return unknown(command, 'a cursor of a statement that is no plain SELECT', uses);
  }
  const cursor = { action: 'declare', name, holds: (options & cursorOptionHold) !== 0 } as const;
  return { ...rest, class: 'read', command, cursor, uses, shape: { kind: 'query', query: inner } };
}

export function transaction(body: TransactionStmt): Effects {
  const made = (step: StatementFacts['transaction'], command: string): Effects => {
    return { ...rest, class: 'transaction', command, transaction: step };
  };
  switch (body.kind) {
    case 'TRANS_STMT_BEGIN':
      return made('begin', 'BEGIN');
    case 'TRANS_STMT_START':
      return made('begin', 'START TRANSACTION');
    case 'TRANS_STMT_COMMIT':
      return made('commit', 'COMMIT');
    case 'TRANS_STMT_ROLLBACK':
      return made('rollback', 'ROLLBACK');
    case 'TRANS_STMT_SAVEPOINT':
      return made('savepoint', 'SAVEPOINT');
    case 'TRANS_STMT_RELEASE':
      return made('savepoint', 'RELEASE');
    case 'TRANS_STMT_ROLLBACK_TO':
      return made('savepoint', 'ROLLBACK');
    case 'TRANS_STMT_PREPARE':
    case 'TRANS_STMT_COMMIT_PREPARED':
    case 'TRANS_STMT_ROLLBACK_PREPARED':
    case undefined:
      return unknown('PREPARE TRANSACTION', 'a prepared transaction outlives its session');
    default:
      body.kind satisfies never;
      return unknown('TRANSACTION', 'an unknown transaction command');
  }
}

export function setting(body: VariableSetStmt): Effects {
  const name = (body.name ?? '').toLowerCase();
  const command = body.kind === 'VAR_RESET' || body.kind === 'VAR_RESET_ALL' ? 'RESET' : 'SET';
  const made = (named: string, value: string | undefined): Effects => {
    return { ...rest, class: 'setting', command, setting: { name: named, value } };
  };
  switch (body.kind) {
    case 'VAR_SET_VALUE':
      return made(name, constantsOf(body.args));
    case 'VAR_SET_DEFAULT':
    case 'VAR_SET_CURRENT':
    case 'VAR_RESET':
      return made(name, undefined);
    case 'VAR_RESET_ALL':
      return made('all', undefined);
    case 'VAR_SET_MULTI':
      if (name !== 'transaction' && name !== 'session characteristics') return unknown('SET', `SET ${name}`);
      return { ...rest, class: 'transaction', command: 'SET', transaction: 'other' };
    case undefined:
      return unknown('SET', 'an unknown form of SET');
    default:
      body.kind satisfies never;
      return unknown('SET', 'an unknown form of SET');
  }
}

export function settingBySelect(select: SelectStmt, catalogue: Catalogue): Effects | undefined {
  const call = settingCallOf(select, catalogue);
  if (call === undefined) return undefined;
  const { name, value, columns, parameters } = call;
  const uses = { ...noUses, parameters };
  const shape: Shape = { kind: 'columns', names: columns };
  return { ...rest, class: 'setting', command: 'SET', setting: { name, value }, uses, shape };
}

/** Several values (`search_path`, `DateStyle`) come as one text with commas, as SHOW would print them. */
function constantsOf(args: readonly Node[] | undefined): string | undefined {
  const values: string[] = [];
  for (const arg of args ?? []) {
    const constant = bodyIf(arg, 'A_Const');
    const value = constant === undefined ? undefined : constantText(constant);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return values.length === 0 ? undefined : values.join(', ');
}
