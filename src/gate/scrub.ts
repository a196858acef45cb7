/**
 * A statement's text as it may stand in logs and recordings: literals can hold the very values that we mask. Detectors
 * go over every text; where a masked relation is written to, all literals go.
 */
import { sha256Hex } from '../lib/canonical-json.ts';
import type { ConnectionMasking } from '../masking/policy.ts';
import type { StatementClass } from '../sql/statement.ts';

/** An entry of the log is at most 65,535 bytes; a longer text stands there by its beginning and its digest. */
const maxLoggedCharacters = 8_000;

export interface ScrubbedText {
  readonly text: string;
  /** SHA-256 of the whole scrubbed text where `text` is only its beginning. */
  readonly textDigest?: string;
}

/** @param recordable the text after `scrubDetected` */
export function scrubStatement(
  recordable: string,
  touchesMasked: boolean,
  statementClass: StatementClass | undefined,
): ScrubbedText {
  const scrubbed = touchesMasked && statementClass !== 'read' ? withoutLiterals(recordable) : recordable;
  if (scrubbed.length <= maxLoggedCharacters) return { text: scrubbed };
  return { text: `${scrubbed.slice(0, maxLoggedCharacters)} …`, textDigest: sha256Hex(scrubbed) };
}

/** The text with every finding of the connection's detectors replaced. */
export function scrubDetected(text: string, masking: ConnectionMasking): string {
  const found = masking.detectors.detectText(Buffer.from(text, 'utf8'));
  return found === undefined ? text : found.toString('utf8');
}

/**
 * The text with every string and number literal replaced by `…`. Dollar quotes and escape strings, whose end a simple
 * reading can miss, withhold the whole text. `$1` is a parameter: the tag of a dollar quote begins with no digit.
 */
export function withoutLiterals(text: string): string {
  if (/[$\\]|--|\/\*/.test(text.replaceAll(/\$\d+/g, '')))
    return `(text of ${text.length} characters withheld: its literals may be masked values)`;
  // In one go, so that a quote inside a quoted name begins no string.
  return text.replace(/"[^"]*(?:"|$)|'[^']*(?:'|$)|(?<![\w.$])\.?\d[\w.]*/g, (found) =>
    found.startsWith('"') ? found : found.startsWith("'") ? "'…'" : '…',
  );
}

/** Error and notice texts quote data. Where masked data was in reach, only what cannot hold any is kept. */
export function scrubFields(
  fields: Record<string, string>,
  touchesMasked: boolean,
  masking: ConnectionMasking,
): Record<string, string> {
  if (touchesMasked) {
    const kept: Record<string, string> = {};
    for (const name of ['S', 'V', 'C', 'P']) if (fields[name] !== undefined) kept[name] = fields[name];
    kept['M'] =
      `countersign: the target reported SQLSTATE ${fields['C'] ?? '?'}; its text is withheld, as it may quote masked data`;
    return kept;
  }
  const scrubbed: Record<string, string> = {};
  for (const [name, value] of Object.entries(fields)) scrubbed[name] = scrubDetected(value, masking);
  return scrubbed;
}
