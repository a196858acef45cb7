/**
 * What `redact` puts in the place of a value, by type and wire format: a constant that the type's own input takes. Types
 * in which every constant would be read as a value (numbers, dates, booleans, places) have none; there it is NULL.
 *
 * Binary forms: the `…_send` and `…_recv` functions in PostgreSQL's src/backend/utils/adt.
 */
import { elementTypeOf, typeOid } from './type-oids.ts';

export const placeholder = '[masked]';
export const placeholderBytes = Buffer.from(placeholder);

/** The version byte that stands before the text of a binary jsonb or jsonpath value. */
export const jsonVersion = '\x01';

interface Placeholder {
  readonly text: string;
  readonly binary: Buffer;
}

const asText: Placeholder = { text: placeholder, binary: placeholderBytes };
const jsonText = `"${placeholder}"`;
const versionedJson: Placeholder = { text: jsonText, binary: Buffer.from(`${jsonVersion}${jsonText}`) };
/** A count of zero: of bits, lexemes, ranges. */
const empty = (text: string): Placeholder => ({ text, binary: Buffer.alloc(4) });
const emptyRange: Placeholder = { text: 'empty', binary: Buffer.from([0x01]) };
/** Family 2 (IPv4), number of bits, is it a cidr, four bytes. */
const address = (text: string, isCidr: 0 | 1): Placeholder => ({
  text,
  binary: Buffer.from([2, 32, isCidr, 4, 0, 0, 0, 0]),
});

const placeholders: ReadonlyMap<number, Placeholder> = new Map([
  [typeOid.text, asText],
  [typeOid.varchar, asText],
  [typeOid.bpchar, asText],
  [typeOid.name, asText],
  [typeOid.unknown, asText],
  [typeOid.cstring, asText],
  [typeOid.refcursor, asText],
  [typeOid.xml, asText],
  // One byte wide.
  [typeOid.char, { text: '*', binary: Buffer.from('*') }],
  [typeOid.json, { text: jsonText, binary: Buffer.from(jsonText) }],
  [typeOid.jsonb, versionedJson],
  [typeOid.jsonpath, versionedJson],
  [typeOid.uuid, { text: '00000000-0000-0000-0000-000000000000', binary: Buffer.alloc(16) }],
  [typeOid.bytea, { text: String.raw`\x`, binary: Buffer.alloc(0) }],
  [typeOid.inet, address('0.0.0.0', 0)],
  // One host, not 0.0.0.0/0: where such a value is taken for a permission, it permits nobody.
  [typeOid.cidr, address('0.0.0.0/32', 1)],
  [typeOid.macaddr, { text: '00:00:00:00:00:00', binary: Buffer.alloc(6) }],
  [typeOid.macaddr8, { text: '00:00:00:00:00:00:00:00', binary: Buffer.alloc(8) }],
  [typeOid.varbit, empty('')],
  [typeOid.tsvector, empty('')],
  [typeOid.int4range, emptyRange],
  [typeOid.int8range, emptyRange],
  [typeOid.numrange, emptyRange],
  [typeOid.tsrange, emptyRange],
  [typeOid.tstzrange, emptyRange],
  [typeOid.daterange, emptyRange],
  [typeOid.int4multirange, empty('{}')],
  [typeOid.int8multirange, empty('{}')],
  [typeOid.nummultirange, empty('{}')],
  [typeOid.tsmultirange, empty('{}')],
  [typeOid.tstzmultirange, empty('{}')],
  [typeOid.datemultirange, empty('{}')],
]);

/** Types without a placeholder. Written down, so that a type that nobody thought of is one that this file does not name. */
const withheld: ReadonlySet<number> = new Set([
  typeOid.bool,
  typeOid.int2,
  typeOid.int4,
  typeOid.int8,
  typeOid.float4,
  typeOid.float8,
  typeOid.numeric,
  typeOid.money,
  typeOid.date,
  typeOid.time,
  typeOid.timetz,
  typeOid.timestamp,
  typeOid.timestamptz,
  typeOid.interval,
  // bit(n) has exactly n bits.
  typeOid.bit,
  typeOid.point,
  typeOid.lseg,
  typeOid.path,
  typeOid.box,
  typeOid.polygon,
  typeOid.line,
  typeOid.circle,
  typeOid.oid,
  typeOid.tid,
  typeOid.xid,
  typeOid.xid8,
  typeOid.cid,
  typeOid.int2vector,
  typeOid.oidvector,
  typeOid.pgLsn,
  typeOid.pgSnapshot,
  typeOid.txidSnapshot,
  typeOid.regproc,
  typeOid.regprocedure,
  typeOid.regoper,
  typeOid.regoperator,
  typeOid.regclass,
  typeOid.regtype,
  typeOid.regconfig,
  typeOid.regdictionary,
  typeOid.regnamespace,
  typeOid.regrole,
  typeOid.regcollation,
  typeOid.aclitem,
  typeOid.gtsvector,
  // The binary input takes no empty one.
  typeOid.tsquery,
  // How many columns a record has is not known here.
  typeOid.record,
  typeOid.void,
  typeOid.pgDdlCommand,
  typeOid.pgNodeTree,
  typeOid.pgNdistinct,
  typeOid.pgDependencies,
  typeOid.pgMcvList,
  typeOid.pgBrinBloomSummary,
  typeOid.pgBrinMinmaxMultiSummary,
]);

/** null is the SQL NULL. Types that are not known (enums, composites, extensions' types) have no placeholder. */
export function placeholderOf(type: number, format: 0 | 1): Buffer | null {
  const element = elementTypeOf(type);
  if (element !== undefined) return emptyArray(element, format);
  const found = placeholders.get(type);
  if (found === undefined) return null;
  return format === 0 ? Buffer.from(found.text) : found.binary;
}

/** No elements: one placeholder per element would say how many there are. */
function emptyArray(elementType: number, format: 0 | 1): Buffer {
  if (format === 0) return Buffer.from('{}');
  const cell = Buffer.alloc(12);
  cell.writeInt32BE(elementType, 8);
  return cell;
}

/** Is it written down here what becomes of this type? */
export function isDecided(type: number): boolean {
  return placeholders.has(type) || withheld.has(type) || elementTypeOf(type) !== undefined;
}
