/** One delivered cell as a person reads it. */

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** OIDs of pg_type.dat whose binary form is easily read; the rest is shown as hex. */
const types = { bool: 16, int8: 20, int2: 21, int4: 23, float4: 700, float8: 701, uuid: 2950, jsonb: 3802 } as const;
const textTypes = new Set([18, 19, 25, 114, 142, 1042, 1043]);

/** @param column undefined where no RowDescription was delivered (a client may execute without asking for one) */
export function cellText(
  cell: Buffer | null,
  column: { readonly format: 0 | 1; readonly typeOid: number } | undefined,
): string | null {
  if (cell === null) return null;
  return (column?.format === 1 ? binaryText(cell, column.typeOid) : undefined) ?? plainText(cell);
}

function binaryText(cell: Buffer, typeOid: number): string | undefined {
  if (textTypes.has(typeOid)) return plainText(cell);
  if (typeOid === types.jsonb && cell[0] === 1) return plainText(cell.subarray(1));
  if (typeOid === types.bool && cell.length === 1) return cell[0] === 0 ? 'f' : 't';
  if (typeOid === types.int2 && cell.length === 2) return String(cell.readInt16BE());
  if (typeOid === types.int4 && cell.length === 4) return String(cell.readInt32BE());
  if (typeOid === types.int8 && cell.length === 8) return String(cell.readBigInt64BE());
  if (typeOid === types.float4 && cell.length === 4) return String(cell.readFloatBE());
  if (typeOid === types.float8 && cell.length === 8) return String(cell.readDoubleBE());
  if (typeOid === types.uuid && cell.length === 16)
    return cell.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  return `\\x${cell.toString('hex')}`;
}

/** UTF-8 without NUL is text; anything else is shown as hex. */
function plainText(cell: Buffer): string {
  if (!cell.includes(0)) {
    try {
      return strictUtf8.decode(cell);
    } catch {
      // Not text.
    }
  }
  return `\\x${cell.toString('hex')}`;
}
