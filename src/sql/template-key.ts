/**
 * A key that texts share when they differ only in integer constants after a comparison operator: `id = 7` and `id = 9`.
 * It runs on every simple query, so it is one pass over the characters and no parser; where reading the text would need
 * one (quotes, comments, dollar signs, anything but ASCII) the text is its own key. Whether facts may be shared under a
 * key is not decided here but by `StatementFacts.constantFree`.
 */

/** Stands for a constant. NUL cannot occur in a statement, so no text is equal to the key of another. */
export const constantPlaceholder = '\0';

const quote = 39;
const doubleQuote = 34;
const dollar = 36;
const backslash = 92;
const minus = 45;
const slash = 47;
const star = 42;
const questionMark = 63;
const colon = 58;
const less = 60;
const equal = 61;
const greater = 62;
const space = 32;

/** Characters of which PostgreSQL's scanner makes operators. */
const operatorCharacter = new Uint8Array(128);
for (const character of '+-*/<>=~!@#%^&|`?') operatorCharacter[character.charCodeAt(0)] = 1;

const maxDigits = 9;

export function templateKey(text: string): string {
  let key = '';
  let copied = 0;
  const { length } = text;
  for (let at = 0; at < length; at++) {
    const code = text.charCodeAt(at);
    if (code > 127 || code === quote || code === doubleQuote || code === dollar || code === backslash || code === 0) {
      return text;
    }
    if (operatorCharacter[code] === 0) continue;
    let end = at;
    for (; end < length; end++) {
      const next = text.charCodeAt(end);
      if (next > 127 || operatorCharacter[next] === 0) break;
      if (next === questionMark) return text;
      const previous = end > at ? text.charCodeAt(end - 1) : 0;
      if ((next === minus && previous === minus) || (next === star && previous === slash)) return text;
    }
    const comparison = isComparison(text, at, end) && (at === 0 || text.charCodeAt(at - 1) !== colon);
    at = end - 1;
    if (!comparison) continue;
    let digits = end;
    while (digits < length && isSpace(text.charCodeAt(digits))) digits++;
    let after = digits;
    while (after < length && isDigit(text.charCodeAt(after))) after++;
    if (after === digits || after - digits > maxDigits || !endsConstant(text, after)) continue;
    key += text.slice(copied, digits) + constantPlaceholder;
    copied = after;
    at = after - 1;
  }
  return copied === 0 ? text : key + text.slice(copied);
}

/** = < > <> <= >= as a whole operator; `=>` and `=<` are others. */
function isComparison(text: string, start: number, end: number): boolean {
  const first = text.charCodeAt(start);
  if (end - start === 1) return first === equal || first === less || first === greater;
  if (end - start !== 2) return false;
  const second = text.charCodeAt(start + 1);
  return (first === less && (second === greater || second === equal)) || (first === greater && second === equal);
}

function endsConstant(text: string, at: number): boolean {
  if (at === text.length) return true;
  const code = text.charCodeAt(at);
  return isSpace(code) || code === 59 || code === 41;
}

/** What PostgreSQL's scanner takes for white space, all versions agreeing. */
function isSpace(code: number): boolean {
  return code === space || (code >= 9 && code <= 13 && code !== 11);
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}
