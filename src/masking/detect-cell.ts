/** Content detection on one cell, by the column's type and wire format: all that may hold text is looked into. */
import { rewriteArray } from './arrays.ts';
import { opaqueBytes, quotedText, withoutReferences } from './detect-opaque.ts';
import type { CompiledDetectors } from './detectors.ts';
import { byteaValue } from './digests.ts';
import { elementTypeOf, typeOid } from './type-oids.ts';

/** The new cell for src[start, end), null for the SQL NULL, or undefined when nothing was found. Never throws. */
export type CellDetector = (src: Buffer, start: number, end: number) => Buffer | null | undefined;

/** @returns undefined for types that hold no text, and when there are no detectors */
export function compileCellDetector(
  type: number,
  format: 0 | 1,
  detectors: CompiledDetectors,
): CellDetector | undefined {
  if (!detectors.active || textless.has(type)) return undefined;
  switch (type) {
    case typeOid.text:
    case typeOid.varchar:
    case typeOid.bpchar:
    case typeOid.name:
    case typeOid.unknown:
    case typeOid.cstring:
    case typeOid.refcursor:
      return detectors.replaceText;
    case typeOid.xml:
      return markup(detectors);
    case typeOid.json:
      return detectors.replaceJson;
    case typeOid.jsonb:
      return format === 0 ? detectors.replaceJson : binaryJsonb(detectors);
    case typeOid.bytea:
      return bytes(detectors, format);
    case typeOid.tsvector:
    case typeOid.tsquery:
    case typeOid.jsonpath:
      // A placeholder inside would break their syntax, or mean something else.
      return format === 0 ? whole(detectors) : opaqueBytes(detectors);
    default: {
      const elementType = elementTypeOf(type);
      if (elementType !== undefined) return array(detectors, { format, elementType });
      // Enums, domains' arrays, composites, extensions' types: text is text; what binary means nobody knows.
      return format === 0 ? quotedText(detectors) : opaqueBytes(detectors);
    }
  }
}

/** inet, cidr and their arrays hold nothing but addresses: where addresses are to be detected, every value is one. */
export function holdsAddresses(type: number): boolean {
  return isAddress(type) || isAddress(elementTypeOf(type));
}

function isAddress(type: number | undefined): boolean {
  return type === typeOid.inet || type === typeOid.cidr;
}

/** Types whose values cannot hold text of users: numbers, times, bits, geometry, identifiers, ranges. */
const textless: ReadonlySet<number> = new Set([
  typeOid.bool,
  typeOid.char,
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
  typeOid.bit,
  typeOid.varbit,
  typeOid.uuid,
  typeOid.inet,
  typeOid.cidr,
  typeOid.macaddr,
  typeOid.macaddr8,
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
  typeOid.void,
  typeOid.int4range,
  typeOid.int8range,
  typeOid.numrange,
  typeOid.tsrange,
  typeOid.tstzrange,
  typeOid.daterange,
  typeOid.int4multirange,
  typeOid.int8multirange,
  typeOid.nummultirange,
  typeOid.tsmultirange,
  typeOid.tstzmultirange,
  typeOid.datemultirange,
]);

function whole(detectors: CompiledDetectors): CellDetector {
  return (src, start, end) => (detectors.replaceText(src, start, end) === undefined ? undefined : null);
}

const jsonbVersionBytes = 1;

function binaryJsonb(detectors: CompiledDetectors): CellDetector {
  return (src, start, end) => {
    if (end - start < jsonbVersionBytes) return undefined;
    const replaced = detectors.replaceJson(src, start + jsonbVersionBytes, end);
    return replaced === undefined
      ? undefined
      : Buffer.concat([src.subarray(start, start + jsonbVersionBytes), replaced]);
  };
}

/** What is found in XML must lie between two marks; and a character may be written as a reference, `&#52;` or `&#x34;`. */
function markup(detectors: CompiledDetectors): CellDetector {
  return (src, start, end) => {
    const replaced = detectors.replaceText(src, start, end);
    if (replaced !== undefined) {
      const reachesMarks = detectors
        .find(src, start, end)
        .some((finding) => /[<>&]/.test(src.toString('latin1', finding.start, finding.end)));
      if (reachesMarks) return null;
    }
    const shown = replaced ?? src.subarray(start, end);
    const plain = withoutReferences(shown);
    return plain === undefined || detectors.detectText(plain) === undefined ? replaced : null;
  };
}

/** In bytes that are no text, something shorter looks like an e-mail or IP address by chance in every large image. */
const shortestInBytes = 9;

/** bytea, in text under either setting of bytea_output. */
function bytes(detectors: CompiledDetectors, format: 0 | 1): CellDetector {
  const finds = (src: Buffer, start: number, end: number): boolean =>
    detectors.suspects(src, start, end) &&
    detectors.find(src, start, end).some((finding) => finding.end - finding.start >= shortestInBytes);
  if (format === 1) return (src, start, end) => (finds(src, start, end) ? null : undefined);
  return (src, start, end) => {
    const value = byteaValue(src, start, end);
    return (value === undefined ? finds(src, start, end) : finds(value, 0, value.length)) ? null : undefined;
  };
}

/**
 * Element by element. What is found only across elements (a word in one says what the number in the next is) cannot be
 * replaced in place, nor can what is found in something that is no array.
 */
function array(
  detectors: CompiledDetectors,
  form: { readonly format: 0 | 1; readonly elementType: number },
): CellDetector | undefined {
  const detect = compileCellDetector(form.elementType, form.format, detectors);
  if (detect === undefined) return undefined;
  const opaque = opaqueBytes(detectors);
  const isText = form.elementType !== typeOid.bytea;
  return (src, start, end) => {
    // Escapes cannot hide what no detector suspects, but hexadecimal digits can.
    if (isText && !mayHide(form.elementType) && !detectors.suspects(src, start, end)) return undefined;
    const shown: Buffer[] = [];
    let isWithheld = false;
    const changed = rewriteArray(src, start, end, form, (element, from, to) => {
      const replaced = detect(element, from, to);
      if (replaced === null) isWithheld = true;
      else shown.push(replaced ?? element.subarray(from, to), comma);
      return replaced;
    });
    if (changed === null) return opaque(src, start, end);
    // One element that is NULL breaks drivers that read into arrays without NULLs.
    if (isWithheld) return null;
    if (!isText) return undefined;
    const all = Buffer.concat(shown);
    return detectors.find(all, 0, all.length).length > 0 ? null : changed;
  };
}

const comma = Buffer.from(',');

/** Types in which findings may not look like any: references in XML, nested forms in records. */
function mayHide(type: number): boolean {
  return type === typeOid.xml || type === typeOid.record;
}
