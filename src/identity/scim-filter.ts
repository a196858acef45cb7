/**
 * Filters of SCIM lists (RFC 7644, section 3.4.2.2), as far as identity providers ask: `attribute eq value`, put together
 * with `and` and `or` (`and` binds closer). Everything else is `invalidFilter`. Pure.
 */
import { ScimProblem } from './scim-problem.ts';

export interface ScimTest {
  /** Lower case. */
  readonly attribute: string;
  readonly value: string | boolean;
}

/** One of these, each of which is all of its tests. */
export type ScimFilter = readonly (readonly ScimTest[])[];

const maxTests = 50;
const test = /\s*([A-Za-z][\w.:-]*)\s+eq\s+("(?:[^"\\]|\\.)*"|true|false)\s*/iy;
const joint = /(and|or)\s/iy;
const schemaPrefix = /^urn:ietf:params:scim:schemas:core:2\.0:(user|group):/;

/** @throws ScimProblem `invalidFilter`, also for an attribute that is not among these (lower case) */
export function parseFilter(text: string, attributes: ReadonlySet<string>): ScimFilter {
  const alternatives: ScimTest[][] = [[]];
  let at = 0;
  for (let count = 0; ; count++) {
    test.lastIndex = at;
    const [whole, name = '', literal = ''] = test.exec(text) ?? [];
    if (whole === undefined || count >= maxTests) throw invalidFilter(attributes);
    const attribute = name.toLowerCase().replace(schemaPrefix, '');
    if (!attributes.has(attribute)) throw invalidFilter(attributes);
    alternatives.at(-1)?.push({ attribute, value: valueOf(literal, attributes) });
    at += whole.length;
    if (at === text.length) return alternatives;
    joint.lastIndex = at;
    const found = joint.exec(text);
    if (found === null) throw invalidFilter(attributes);
    if (found[1]?.toLowerCase() === 'or') alternatives.push([]);
    at = joint.lastIndex;
  }
}

function valueOf(literal: string, attributes: ReadonlySet<string>): string | boolean {
  try {
    const value: unknown = JSON.parse(literal.startsWith('"') ? literal : literal.toLowerCase());
    if (typeof value === 'boolean') return value;
    if (typeof value === 'string' && !value.includes('\0') && value.isWellFormed()) return value;
  } catch {
    // Told below.
  }
  throw invalidFilter(attributes);
}

function invalidFilter(attributes: ReadonlySet<string>): ScimProblem {
  return new ScimProblem(
    400,
    `a filter is \`attribute eq "value"\`, with \`and\` and \`or\`, of ${[...attributes].join(', ')}`,
    'invalidFilter',
  );
}
