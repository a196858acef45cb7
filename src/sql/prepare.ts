/**
 * PREPARE, EXECUTE, DEALLOCATE and DISCARD. PREPARE has the facts of the statement that it prepares. What an EXECUTE runs
 * is not in its text, so here it is not understood; the gate, which knows what its session has prepared, resolves it.
 */
import type { DeallocateStmt, DiscardStmt, ExecuteStmt, Node, PrepareStmt } from 'libpg-query';
import { rest, session, unknown, withUnknown, type Effects } from './effect.ts';
import type { Catalogue } from './statement.ts';
import { bodyIf } from './tree.ts';
import { collectUses } from './uses.ts';

/** Where a server cuts a name depends on its encoding: only of these it is certain that they stay what they are. */
const plainName = /^[ -~]{1,62}$/;

export function prepare(body: PrepareStmt, inner: Effects, catalogue: Catalogue): Effects {
  const { name = '' } = body;
  if (!plainName.test(name)) return unknown('PREPARE', 'the name of a prepared statement has to be short and in ASCII');
  if (inner.uses.into !== undefined) return unknown('PREPARE', 'PREPARE of SELECT INTO', inner.uses);
  const types = collectUses(body.argtypes, catalogue, session);
  const uses = { ...inner.uses, unknowns: [...inner.uses.unknowns, ...types.unknowns], parameters: 0 };
  return { ...inner, uses, prepared: { action: 'prepare', name } };
}

export function execute(body: ExecuteStmt, catalogue: Catalogue): Effects {
  const { name = '', params = [] } = body;
  const uses = collectUses(params, catalogue, session);
  const isConstant = params.every((argument) => constant(argument));
  const named = withUnknown(uses, isConstant ? undefined : 'an argument of EXECUTE that is no constant');
  const reason = `EXECUTE ${name} runs a statement that the gateway did not see prepared`;
  const effects = unknown('EXECUTE', reason, named);
  const isUnderstood = isConstant && uses.unknowns.length === 0 && plainName.test(name);
  return isUnderstood ? { ...effects, prepared: { action: 'execute', name } } : effects;
}

function constant(node: Node): boolean {
  const cast = bodyIf(node, 'TypeCast');
  return cast?.arg === undefined ? bodyIf(node, 'A_Const') !== undefined : constant(cast.arg);
}

export function deallocate({ isall, name = '' }: DeallocateStmt): Effects {
  if (isall === true) {
    return { ...rest, class: 'session', command: 'DEALLOCATE ALL', prepared: { action: 'deallocate-all' } };
  }
  return { ...rest, class: 'session', command: 'DEALLOCATE', prepared: { action: 'deallocate', name } };
}

export function discard({ target = 'DISCARD_ALL' }: DiscardStmt): Effects {
  const prepared = target === 'DISCARD_ALL' ? ({ action: 'deallocate-all' } as const) : undefined;
  const drops = target === 'DISCARD_ALL' || target === 'DISCARD_TEMP';
  const temporary = drops ? ({ action: 'drop-all' } as const) : undefined;
  return { ...rest, class: 'session', command: target.replace('_', ' '), prepared, temporary };
}
