/**
 * Detectors for values that are mostly digits: payment cards, US social security numbers, IBANs, telephone numbers.
 * They work on bytes, so that an offset is an offset into the cell, and are linear in its length.
 */

/** Takes a finding as bytes [start, end). */
export type OnFinding = (start: number, end: number) => void;

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

function isLetter(byte: number | undefined): boolean {
  return byte !== undefined && ((byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a));
}

function isWord(byte: number | undefined): boolean {
  return isDigit(byte) || isLetter(byte) || byte === 0x5f;
}

/** Length in bytes of one separator at `at`: blank, hyphen, or their typographic forms in UTF-8. 0 = none. */
function separatorAt(src: Uint8Array, at: number, end: number): number {
  const byte = src[at];
  if (at >= end) return 0;
  if (byte === 0x20 || byte === 0x2d) return 1;
  if (byte === 0xc2 && at + 1 < end && src[at + 1] === 0xa0) return 2; // no-break space
  if (byte === 0xe2 && at + 2 < end) {
    const second = src[at + 1];
    const third = src[at + 2] ?? 0;
    // U+2009, U+200A thin spaces; U+2010 to U+2015 hyphens and dashes; U+202F narrow no-break space; U+2212 minus
    if (second === 0x80 && (third === 0x89 || third === 0x8a || (third >= 0x90 && third <= 0x95) || third === 0xaf))
      return 3;
    if (second === 0x88 && third === 0x92) return 3;
  }
  return 0;
}

// ---- payment cards (ISO/IEC 7812-1)

const shortestCard = 13;
const longestCard = 19;

/** Groups of digits of one number as it is printed; at most this many are looked at from each start. */
const mostGroups = 6;

/**
 * Looks at every run of digit groups with single separators between: one group of 13 to 19 digits, or groups as cards
 * print them (first 4 or 6 digits, then 3 to 8, the last also 1 or 2).
 */
export function findCards(src: Uint8Array, start: number, end: number, onFinding: OnFinding): void {
  let at = start;
  while (at < end) {
    if (!isDigit(src[at])) {
      at++;
      continue;
    }
    const found = isFraction(src, at, start) ? 0 : cardAt(src, at, end, start);
    if (found > 0) {
      onFinding(at, found);
      at = found;
    } else {
      while (at < end && isDigit(src[at])) at++;
    }
  }
}

/** Digits after a decimal point are no card: `0.4111111111111111`. */
function isFraction(src: Uint8Array, at: number, start: number): boolean {
  return at - 2 >= start && src[at - 1] === 0x2e && isDigit(src[at - 2]);
}

const cardDigits = new Uint8Array(longestCard);

/** End of the longest card number that begins at the digit `at`, or 0. */
function cardAt(src: Uint8Array, from: number, end: number, start: number): number {
  let count = 0;
  let longest = 0;
  let at = from;
  for (let groups = 0; groups < mostGroups; groups++) {
    const groupStart = at;
    while (at < end && isDigit(src[at])) {
      if (count === longestCard) return longest;
      cardDigits[count++] = (src[at++] as number) - 0x30;
    }
    const size = at - groupStart;
    const whole = size >= shortestCard && groups === 0;
    if (!whole && !isCardGroup(size, groups)) return longest;
    // Inside a word on both sides it is a piece of some identifier or digest, not a number.
    const inWord = whole && from > start && isLetter(src[from - 1]) && isLetter(at < end ? src[at] : undefined);
    if (count >= shortestCard && !inWord && isCard(count)) longest = at;
    const separator = whole ? 0 : separatorAt(src, at, end);
    if (separator === 0 || at + separator >= end || !isDigit(src[at + separator]) || (groups > 0 && size < 3))
      return longest;
    at += separator;
  }
  return longest;
}

function isCardGroup(size: number, index: number): boolean {
  return index === 0 ? size === 4 || size === 6 : size >= 1 && size <= 8;
}

function isCard(count: number): boolean {
  return hasIssuer(count) && passesLuhn(cardDigits, count);
}

/** Issuer ranges in use, by their first six digits, with the lengths they issue. */
function hasIssuer(count: number): boolean {
  let prefix = 0;
  for (let index = 0; index < 6; index++) prefix = prefix * 10 + (cardDigits[index] as number);
  const two = Math.floor(prefix / 10_000);
  const three = Math.floor(prefix / 1_000);
  const four = Math.floor(prefix / 100);
  if (two >= 40 && two <= 49) return count === 13 || count === 16 || count === 18 || count === 19; // Visa
  if (two >= 51 && two <= 55) return count === 16; // Mastercard
  if (prefix >= 222_100 && prefix <= 272_099) return count === 16; // Mastercard
  if (four >= 2200 && four <= 2204) return count >= 16; // Mir
  if (two === 34 || two === 37) return count === 15; // American Express
  if (two === 36 || two === 38 || two === 39 || (three >= 300 && three <= 305)) return count >= 14; // Diners Club
  if (four >= 3528 && four <= 3589) return count >= 16; // JCB
  if (two === 50 || (two >= 56 && two <= 58)) return true; // Maestro, Elo, RuPay
  if (two === 60 || two === 64 || two === 65 || two === 62 || two === 81 || two === 82) return count >= 16; // Discover, UnionPay, RuPay
  return two === 61 || two === 63 || (two >= 66 && two <= 69); // Maestro
}

/** The check digit of ISO/IEC 7812-1 over digits 0 to 9. */
export function passesLuhn(digits: Uint8Array, count: number): boolean {
  let sum = 0;
  for (let index = count - 1, double = false; index >= 0; index--, double = !double) {
    const value = digits[index] as number;
    if (!double) sum += value;
    else sum += value > 4 ? value * 2 - 9 : value * 2;
  }
  return sum % 10 === 0;
}

// ---- US social security numbers

/** `ddd-dd-dddd` with hyphens or blanks; nine bare digits only after a word that says what they are. */
export function findSsns(src: Uint8Array, start: number, end: number, onFinding: OnFinding): void {
  let at = start;
  while (at < end) {
    if (!isDigit(src[at])) {
      at++;
      continue;
    }
    let groupEnd = at;
    while (groupEnd < end && isDigit(src[groupEnd])) groupEnd++;
    const found =
      groupEnd - at === 3
        ? dashedSsnEnd(src, at, end, start)
        : groupEnd - at === 9
          ? bareSsnEnd(src, at, end, start)
          : 0;
    if (found > 0) onFinding(at, found);
    at = found > 0 ? found : groupEnd;
  }
}

function numberAt(src: Uint8Array, at: number, digits: number): number {
  let value = 0;
  for (let index = 0; index < digits; index++) value = value * 10 + (src[at + index] as number) - 0x30;
  return value;
}

/** How many digits stand at `at`, up to `most + 1`. */
function digitsAt(src: Uint8Array, at: number, end: number, most: number): number {
  let count = 0;
  while (count <= most && at + count < end && isDigit(src[at + count])) count++;
  return count;
}

function isSsn(area: number, group: number, serial: number): boolean {
  return area !== 0 && area !== 666 && area < 900 && group !== 0 && serial !== 0;
}

function dashedSsnEnd(src: Uint8Array, at: number, end: number, start: number): number {
  if (continuesNumber(src, at, start)) return 0;
  const first = separatorAt(src, at + 3, end);
  const groupAt = at + 3 + first;
  if (first === 0 || digitsAt(src, groupAt, end, 2) !== 2) return 0;
  const second = separatorAt(src, groupAt + 2, end);
  const serialAt = groupAt + 2 + second;
  if (second === 0 || digitsAt(src, serialAt, end, 4) !== 4) return 0;
  const after = serialAt + 4;
  if (after + 1 < end && src[after] === 0x2d && isDigit(src[after + 1])) return 0;
  return isSsn(numberAt(src, at, 3), numberAt(src, groupAt, 2), numberAt(src, serialAt, 4)) ? after : 0;
}

/** `12-345-…` and `1.345…`: the digits belong to something longer that begins before. */
function continuesNumber(src: Uint8Array, at: number, start: number): boolean {
  return at - 2 >= start && (src[at - 1] === 0x2d || src[at - 1] === 0x2e) && isDigit(src[at - 2]);
}

/** How far before nine bare digits the word that gives them away may begin. */
const keywordReach = 40;
const ssnKeyword =
  /(?:social[ _-]?security|soc[ _-]?sec|tax[ _-]?(?:payer)?[ _-]?id|(?<![a-z])(?:i?tin(?![a-z])|ss#))[^0-9]{0,20}$/i;
/** `ssn`, `SSN` and `userSsn`, but not `className`, `ACCESSNO` or `businessname`. */
const ssnName = /(?:(?<![A-Za-z])ssn|Ssn|(?<![A-Z])SSN)(?![A-Za-z])[^0-9]{0,20}$/;

function bareSsnEnd(src: Uint8Array, at: number, end: number, start: number): number {
  if (!isSsn(numberAt(src, at, 3), numberAt(src, at + 3, 2), numberAt(src, at + 5, 4)) || at + 9 > end) return 0;
  const before = Buffer.from(src.buffer, src.byteOffset, src.byteLength).toString(
    'latin1',
    Math.max(start, at - keywordReach),
    at,
  );
  return ssnName.test(before) || ssnKeyword.test(before) ? at + 9 : 0;
}

// ---- IBAN (ISO 13616)

/** Lengths by country, from the SWIFT IBAN registry. */
const ibanLengths = new Map(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 ' +
    'FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 ' +
    'LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 ' +
    'RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))] as const),
);

export function findIbans(src: Uint8Array, start: number, end: number, onFinding: OnFinding): void {
  // The check digits come third and fourth, after two letters at the beginning of a word.
  for (let at = start; at + 4 <= end; at++) {
    if (!isLetter(src[at]) || !isLetter(src[at + 1]) || !isDigit(src[at + 2]) || !isDigit(src[at + 3])) continue;
    if (at > start && isWord(src[at - 1])) continue;
    const found = ibanEnd(src, at, end);
    if (found === 0) continue;
    onFinding(at, found);
    at = found - 1;
  }
}

function ibanEnd(src: Uint8Array, from: number, end: number): number {
  const country = String.fromCharCode((src[from] as number) & 0xdf, (src[from + 1] as number) & 0xdf);
  const length = ibanLengths.get(country);
  if (length === undefined) return 0;
  let characters = '';
  let at = from;
  while (at < end && characters.length < length) {
    const byte = src[at];
    if (!isDigit(byte) && !isLetter(byte)) {
      const separator = separatorAt(src, at, end);
      if (separator === 0 || characters.length < 2) return 0;
      at += separator;
      if (separatorAt(src, at, end) > 0) return 0;
      continue;
    }
    characters += String.fromCharCode(byte as number);
    at++;
  }
  if (characters.length < length || (at < end && isWord(src[at]))) return 0;
  return passesMod97(characters) ? at : 0;
}

/** The check of ISO 13616 (MOD 97-10 of ISO/IEC 7064) over letters and digits without blanks. */
export function passesMod97(iban: string): boolean {
  let rest = 0;
  const moved = iban.slice(4) + iban.slice(0, 4);
  for (let index = 0; index < moved.length; index++) {
    const value = Number.parseInt(moved.charAt(index), 36);
    if (Number.isNaN(value)) return false;
    rest = (value > 9 ? rest * 100 + value : rest * 10 + value) % 97;
  }
  return rest === 1;
}

// ---- telephone numbers

const fewestPhoneDigits = 10;
const mostPhoneDigits = 15;

/** E.164 with its `+` and ten or more digits; North American numbers in their printed forms. */
export function findPhones(src: Uint8Array, start: number, end: number, onFinding: OnFinding): void {
  let at = start;
  while (at < end) {
    const byte = src[at];
    let found = 0;
    if (byte === 0x2b) found = at === start || !isWord(src[at - 1]) ? internationalEnd(src, at, end) : 0;
    else if (byte === 0x28 || (isDigit(byte) && !(at > start && isWord(src[at - 1]))))
      found = northAmericanEnd(src, at, end, start);
    if (found > 0) {
      onFinding(at, found);
      at = found;
    } else at++;
  }
}

function internationalEnd(src: Uint8Array, from: number, end: number): number {
  let at = from + 1;
  if (!isDigit(src[at]) || src[at] === 0x30) return 0;
  let digits = 0;
  let last = 0;
  while (at < end) {
    if (isDigit(src[at])) {
      digits++;
      at++;
      last = at;
      if (digits > mostPhoneDigits) return 0;
      continue;
    }
    const gap = phoneGap(src, at, end);
    if (gap === 0) break;
    at += gap;
  }
  return digits >= fewestPhoneDigits && !isLetter(last < end ? src[last] : undefined) ? last : 0;
}

/** Bytes between two digits of one number: up to three of blank, hyphen, dot and brackets. */
function phoneGap(src: Uint8Array, from: number, end: number): number {
  let at = from;
  for (let count = 0; count < 3 && at < end; count++) {
    const byte = src[at];
    const size = byte === 0x28 || byte === 0x29 || byte === 0x2e || byte === 0x2f ? 1 : separatorAt(src, at, end);
    if (size === 0) break;
    at += size;
  }
  return at < end && isDigit(src[at]) ? at - from : 0;
}

function phoneSeparator(src: Uint8Array, at: number, end: number): number {
  return at < end && (src[at] === 0x2e || src[at] === 0x2f) ? 1 : separatorAt(src, at, end);
}

/** `(212) 555-0123`, `212-555-0123`, `212.555.0123`, `1 212 555 0123`. Area and exchange begin with 2 to 9. */
function northAmericanEnd(src: Uint8Array, from: number, end: number, start: number): number {
  if (continuesNumber(src, from, start)) return 0;
  let at = from;
  if (src[at] === 0x31) {
    const separator = phoneSeparator(src, at + 1, end);
    if (separator === 0) return 0;
    at += 1 + separator;
  }
  const bracket = src[at] === 0x28;
  if (bracket) at++;
  if (!isAreaCode(src, at, end)) return 0;
  at += 3;
  if (bracket) {
    if (src[at] !== 0x29) return 0;
    at++;
    at += phoneSeparator(src, at, end);
  } else {
    const separator = phoneSeparator(src, at, end);
    if (separator === 0) return 0;
    at += separator;
  }
  if (!isAreaCode(src, at, end)) return 0;
  at += 3;
  const separator = phoneSeparator(src, at, end);
  at += separator;
  if (separator === 0 || digitsAt(src, at, end, 4) !== 4) return 0;
  at += 4;
  if (at < end && (isWord(src[at]) || ((src[at] === 0x2d || src[at] === 0x2e) && at + 1 < end && isDigit(src[at + 1]))))
    return 0;
  return at;
}

function isAreaCode(src: Uint8Array, at: number, end: number): boolean {
  return digitsAt(src, at, end, 3) === 3 && (src[at] as number) >= 0x32;
}
