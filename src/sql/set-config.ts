/**
 * A SELECT that does nothing but call set_config once, with constants, as drivers do before they read arrays: it is SET
 * written as a function. A value that is a parameter is not known, as with SET … TO DEFAULT. current_setting may stand beside it. Everything else with set_config in it is not understood.
 */
import type { FuncCall, Node, SelectStmt } from 'libpg-query';
import type { Catalogue } from './statement.ts';
import { bodyIf, stringsOf } from './tree.ts';

export interface SettingCall {
  readonly name: string;
  readonly value: string | undefined;
  readonly parameters: number;
  /** Of the columns that it returns. */
  readonly columns: readonly string[];
}

/** Whatever else a SELECT has may choose whether, or how often, the function is called. */
const plainParts = new Set(['targetList', 'limitOption', 'op']);
const plainCallParts = new Set(['funcname', 'args', 'funcformat', 'location']);

export function settingCallOf(select: SelectStmt, catalogue: Catalogue): SettingCall | undefined {
  if (!Object.keys(select).every((part) => plainParts.has(part))) return undefined;
  let found: Omit<SettingCall, 'columns'> | undefined;
  const columns: string[] = [];
  for (const node of select.targetList ?? []) {
    const target = bodyIf(node, 'ResTarget');
    const call = bodyIf(target?.val, 'FuncCall');
    const called = call === undefined ? undefined : builtIn(call, catalogue);
    if (call === undefined || called === undefined) return undefined;
    const args = call.args ?? [];
    if (called === 'set_config') {
      const setting = settingOf(args);
      if (found !== undefined || setting === undefined) return undefined;
      found = setting;
    } else if (called !== 'current_setting' || !args.every((arg) => bodyIf(arg, 'A_Const') !== undefined)) {
      return undefined;
    }
    columns.push(target?.name ?? called);
  }
  return found === undefined ? undefined : { ...found, columns };
}

function builtIn(call: FuncCall, catalogue: Catalogue): string | undefined {
  if (!Object.keys(call).every((part) => plainCallParts.has(part))) return undefined;
  const path = stringsOf(call.funcname);
  const name = path.at(-1) ?? '';
  const isBuiltIn =
    path.length === 1 ? !catalogue.userFunctions.has(name) : path.length === 2 && path[0] === 'pg_catalog';
  return isBuiltIn && !catalogue.amongBuiltIn.has(name) ? name : undefined;
}

function settingOf(args: readonly Node[]): Omit<SettingCall, 'columns'> | undefined {
  const [name, value, isLocal] = args.map((arg) => bodyIf(arg, 'A_Const'));
  if (args.length !== 3 || isLocal?.boolval === undefined) return undefined;
  if (name?.sval?.sval === undefined) return undefined;
  const known = value?.sval?.sval;
  const parameter = bodyIf(args[1], 'ParamRef');
  if (known === undefined && parameter === undefined) return undefined;
  return { name: name.sval.sval.toLowerCase(), value: known, parameters: parameter?.number ?? 0 };
}
