/**
 * numeric in binary: int16 number of digits, int16 weight of the first one, uint16 sign, uint16 number of decimals that
 * are shown, then the digits in base 10000, int16 each.
 */
import { roundNumericText } from './rounding.ts';

const headBytes = 8;
const negative = 0x4000;

/** Digits in base 10000 before and after the point; a longer number is withheld. */
const mostGroups = 128;
const mostDecimals = 400;

/** Rounds as `roundNumericText` does; null for NaN, infinities and what cannot be read. */
export function roundBinaryNumeric(src: Buffer, start: number, end: number, to: number): Buffer | null {
  const text = textOf(src, start, end);
  const rounded = text === undefined ? undefined : roundNumericText(text, to);
  return rounded === undefined ? null : bytesOf(rounded);
}

function textOf(src: Buffer, start: number, end: number): string | undefined {
  if (end - start < headBytes) return undefined;
  const count = src.readInt16BE(start);
  const weight = src.readInt16BE(start + 2);
  const sign = src.readUInt16BE(start + 4);
  const decimals = src.readUInt16BE(start + 6);
  if (count < 0 || end - start !== headBytes + 2 * count || (sign !== 0 && sign !== negative)) return undefined;
  if (count > 2 * mostGroups || Math.abs(weight) > mostGroups || decimals > mostDecimals) return undefined;
  let whole = '';
  let fraction = '';
  const last = Math.max(weight, count - 1, weight + Math.ceil(decimals / 4));
  for (let group = Math.min(0, weight + 1); group <= last; group++) {
    const digits = group >= 0 && group < count ? src.readInt16BE(start + headBytes + 2 * group) : 0;
    if (digits < 0 || digits > 9999) return undefined;
    const padded = String(digits).padStart(4, '0');
    if (group <= weight) whole += padded;
    else fraction += padded;
  }
  // What stands behind the decimals that are shown is not shown in text either.
  return `${sign === negative ? '-' : ''}${whole === '' ? '0' : whole}${decimals === 0 ? '' : `.${fraction.slice(0, decimals)}`}`;
}

/** @param text as `-12.50` */
function bytesOf(text: string): Buffer {
  const [whole = '', fraction = ''] = text.replace('-', '').split('.');
  const digits =
    whole.padStart(Math.ceil(whole.length / 4) * 4, '0') + fraction.padEnd(Math.ceil(fraction.length / 4) * 4, '0');
  const groups = (digits.match(/\d{4}/g) ?? []).map(Number);
  let weight = Math.ceil(whole.length / 4) - 1;
  while (groups[0] === 0) {
    groups.shift();
    weight--;
  }
  while (groups.at(-1) === 0) groups.pop();
  const cell = Buffer.alloc(headBytes + 2 * groups.length);
  cell.writeInt16BE(groups.length, 0);
  cell.writeInt16BE(groups.length === 0 ? 0 : weight, 2);
  cell.writeUInt16BE(text.startsWith('-') ? negative : 0, 4);
  cell.writeUInt16BE(fraction.length, 6);
  for (const [index, group] of groups.entries()) cell.writeInt16BE(group, headBytes + 2 * index);
  return cell;
}
