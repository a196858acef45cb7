/**
 * What a text would cost PostgreSQL's parser, in one cheap pass before it. Parsing happens between everybody's statements
 * and cannot be interrupted, so what would take long is not begun. Not a reading of the text: where the pass is wrong
 * about a text, that text costs more than it should, or is refused, and nothing else.
 *
 * What costs more than its length, measured with libpg_query of PostgreSQL 18: runs of `+` and `-` (the scanner takes
 * them apart from the end, anew for each), nested comments, and `(a, b, …) = source` in UPDATE, where each of the columns
 * has a copy of the whole source in the tree.
 */

/** A text of the largest size has room for this many; a shorter one may be as dense as it likes up to the first. */
const fewTokens = 2_000;
const bytesPerToken = 5;
const maxStatements = 1_000;
const maxCommentOpenings = 2_000;
/** An operator's name has at most 63 bytes. */
const maxOperatorRun = 64;
/** Columns that are assigned at once, times the tokens of the text. */
const maxCopies = 300_000;

const dollar = 36;
const other = 0;
const space = 1;
const word = 2;
const operator = 3;
const classes = new Uint8Array(128).fill(other);
for (const character of ' \t\n\r\f\v') classes[character.charCodeAt(0)] = space;
for (const character of '+-*/<>=~!@#%^&|`?') classes[character.charCodeAt(0)] = operator;
for (let code = 0; code < 128; code++) if (/[A-Za-z0-9_$]/.test(String.fromCharCode(code))) classes[code] = word;

/** Why a text is not given to the parser; undefined = it is. `maxBytes` is the size up to which texts are read at all. */
export function tooCostly(text: string, maxBytes: number): string | undefined {
  const maxTokens = Math.max(fewTokens, maxBytes / bytesPerToken);
  /** Commas of each parenthesis that is open. */
  const open: number[] = [];
  let [tokens, semicolons, comments, widest, closed] = [0, 0, 0, 0, 0];
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    const kind = code > 127 ? word : classes[code];
    if (kind === space) {
      at++;
      continue;
    }
    if (text.startsWith('--', at)) {
      at = endOfLine(text, at);
      continue;
    }
    if (text.startsWith('/*', at)) {
      const comment = endOfComment(text, at);
      comments += comment.openings;
      at = comment.end;
      continue;
    }
    tokens++;
    const columns = closed;
    closed = 0;
    if (kind === word) {
      at = endOfWord(text, at);
      continue;
    }
    if (kind === operator) {
      const end = endOfOperator(text, at);
      if (end - at > maxOperatorRun) return `an operator of more than ${maxOperatorRun} characters`;
      // `+-+` may be three.
      tokens += end - at - 1;
      if (text[at] === '=') widest = Math.max(widest, columns);
      at = end;
      continue;
    }
    switch (text.charAt(at)) {
      case "'":
      case '"':
        at = endOfQuoted(text, at);
        continue;
      case '(':
        open.push(0);
        break;
      case ',':
        if (open.length > 0) open[open.length - 1] = (open.at(-1) ?? 0) + 1;
        break;
      case ')':
        closed = (open.pop() ?? 0) + 1;
        break;
      case ';':
        semicolons++;
        break;
      default:
        break;
    }
    at++;
  }
  if (tokens > maxTokens) return `the text has more than ${Math.floor(maxTokens)} words and signs`;
  if (semicolons > maxStatements) return `the text has more than ${maxStatements} statements`;
  if (comments > maxCommentOpenings) return `the text opens more than ${maxCommentOpenings} comments`;
  if (widest > 1 && widest * tokens > maxCopies)
    return `${widest} columns at once before = are too many in so long a text`;
  return undefined;
}

function endOfLine(text: string, from: number): number {
  let at = from;
  while (at < text.length && text[at] !== '\n' && text[at] !== '\r') at++;
  return at;
}

/** Comments nest. */
function endOfComment(text: string, from: number): { readonly end: number; readonly openings: number } {
  let [depth, openings, at] = [0, 0, from];
  while (at < text.length) {
    if (text.startsWith('/*', at)) {
      depth++;
      openings++;
      at += 2;
    } else if (text.startsWith('*/', at)) {
      depth--;
      at += 2;
      if (depth === 0) break;
    } else at++;
  }
  return { end: at, openings };
}

/** An operator ends where a comment begins. */
function endOfOperator(text: string, from: number): number {
  let at = from;
  while (at < text.length && classes[text.charCodeAt(at)] === operator) {
    if (at > from && (text.startsWith('--', at) || text.startsWith('/*', at))) break;
    at++;
  }
  return at;
}

const dollarTag = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y;

/** Also what begins like a word: `$tag$ … $tag$`, and strings with a prefix, of which `E` alone has escapes. */
function endOfWord(text: string, from: number): number {
  const first = text.charCodeAt(from);
  if (first === dollar) {
    dollarTag.lastIndex = from;
    const tag = dollarTag.exec(text)?.[0];
    if (tag !== undefined) {
      const end = text.indexOf(tag, from + tag.length);
      return end < 0 ? text.length : end + tag.length;
    }
  }
  let at = from + 1;
  if (first === dollar) {
    // A parameter: what follows its digits begins anew.
    while (isDigit(text.charCodeAt(at))) at++;
    return at;
  }
  // `1$$` is a number with a string behind it, `a$$` a name.
  const hasDollars = !isDigit(first);
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code <= 127 && (classes[code] !== word || (code === dollar && !hasDollars))) break;
  }
  const isEscaping = text[at] === "'" && at - from === 1 && /[eE]/.test(text[from] ?? '');
  return isEscaping ? endOfEscapes(text, at) : at;
}

/** `E'…'` goes on, escapes and all, where another quote opens behind a line break. */
function endOfEscapes(text: string, from: number): number {
  for (let at = from; ; ) {
    const end = endOfQuoted(text, at, true);
    let hasBreak = false;
    for (at = end; ; ) {
      if (text.startsWith('--', at)) at = endOfLine(text, at);
      else if (classes[text.charCodeAt(at)] !== space) break;
      else if (/[\n\r]/.test(text[at++] ?? '')) hasBreak = true;
    }
    if (!hasBreak || text[at] !== "'") return end;
  }
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

/** From a quote to behind the one that ends it; doubled, it does not. */
function endOfQuoted(text: string, from: number, hasEscapes = false): number {
  const quote = text[from];
  for (let at = from + 1; at < text.length; at++) {
    if (hasEscapes && text[at] === '\\') at++;
    else if (text[at] === quote) {
      if (text[at + 1] !== quote) return at + 1;
      at++;
    }
  }
  return text.length;
}
