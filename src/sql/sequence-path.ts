/** Which sequence the argument of nextval, setval and their like names. */
import type { Node } from 'libpg-query';
import { bodyIf, stringsOf } from './tree.ts';

const identifier = '([a-z_][a-z0-9_$]*|"(?:[^"]|"")+")';
const qualifiedName = new RegExp(`^(?:${identifier}\\.)?${identifier}$`, 'i');

/** The relation that a constant names as regclass does: 'name', 'schema."Name"', '…'::regclass. */
export function sequencePath(argument: Node | undefined): { schema: string | undefined; name: string } | undefined {
  const cast = bodyIf(argument, 'TypeCast');
  if (cast !== undefined && stringsOf(cast.typeName?.names).at(-1) !== 'regclass') return undefined;
  const text = bodyIf(cast === undefined ? argument : cast.arg, 'A_Const')?.sval?.sval;
  const [, schema, name] = qualifiedName.exec(text ?? '') ?? [];
  if (name === undefined) return undefined;
  return { schema: schema === undefined ? undefined : unquoted(schema), name: unquoted(name) };
}

function unquoted(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase();
}
