import { createHash } from 'node:crypto';

/**
 * Canonical JSON after RFC 8785 (JSON Canonicalization Scheme): members sorted by UTF-16 code units, ECMAScript
 * number and string forms, no white space. Two equal values have one text, so a digest of it is a digest of the value.
 */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [member: string]: Json | undefined };

/** @throws TypeError for a number that is not finite and a string with a lone surrogate (neither is interoperable JSON). */
export function canonicalJson(value: Json): string {
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw new TypeError('canonical JSON: a string has a lone surrogate');
    return JSON.stringify(value);
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`canonical JSON: ${value} is no JSON number`);
    return JSON.stringify(value);
  }
  if (value === null || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return `[${value.map((item: Json) => canonicalJson(item)).join(',')}]`;
  const members = value as { readonly [member: string]: Json | undefined };
  let text = '';
  for (const name of Object.keys(members).sort()) {
    const member = members[name];
    if (member === undefined) continue;
    if (text !== '') text += ',';
    text += `${canonicalJson(name)}:${canonicalJson(member)}`;
  }
  return `{${text}}`;
}

/** SHA-256 over the canonical JSON, lower-case hex. */
export function digestOf(value: Json): string {
  return sha256Hex(canonicalJson(value));
}

export function sha256Hex(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
