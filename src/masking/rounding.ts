/**
 * Numbers rounded to multiples of a step, half away from zero. What cannot be rounded so that something is hidden
 * (a step below 2 on whole numbers), does not fit its type afterwards, or is no number, gives nothing.
 */
import { typeOid } from './type-oids.ts';

/** A decimal number as `digits / 10^scale`. */
interface Decimal {
  readonly digits: bigint;
  readonly scale: number;
}

const longestNumeric = 1_000;
const largestScale = 400;

/** Reads `-12.50` and, for JavaScript's own numbers, `1e+21`. */
function decimalOf(text: string): Decimal | undefined {
  if (text.length > longestNumeric) return undefined;
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d{1,3}))?$/.exec(text);
  if (match === null) return undefined;
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match;
  const scale = fraction.length - Number(exponent);
  if (Math.abs(scale) > longestNumeric) return undefined;
  const digits = BigInt(`${sign}${whole}${fraction}`);
  return scale < 0 ? { digits: digits * 10n ** BigInt(-scale), scale: 0 } : { digits, scale };
}

function roundToMultiple(value: bigint, step: bigint): bigint {
  const size = value < 0n ? -value : value;
  const rest = size % step;
  const nearest = 2n * rest >= step ? size - rest + step : size - rest;
  return value < 0n ? -nearest : nearest;
}

/** The result keeps the number of decimals of the value or of the step, whichever is larger. */
export function roundNumericText(text: string, to: number): string | undefined {
  const value = decimalOf(text);
  const step = decimalOf(String(to));
  if (value === undefined || step === undefined || step.digits <= 0n) return undefined;
  const scale = Math.max(value.scale, step.scale);
  if (scale > largestScale) return undefined;
  const rounded = roundToMultiple(
    value.digits * 10n ** BigInt(scale - value.scale),
    step.digits * 10n ** BigInt(scale - step.scale),
  );
  return decimalText(rounded, scale);
}

function decimalText(digits: bigint, scale: number): string {
  const sign = digits < 0n ? '-' : '';
  const size = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, '0');
  return scale === 0 ? `${sign}${size}` : `${sign}${size.slice(0, -scale)}.${size.slice(-scale)}`;
}

const integerBits = new Map<number, number>([
  [typeOid.int2, 16],
  [typeOid.int4, 32],
  [typeOid.int8, 64],
]);

function roundInteger(value: bigint, to: number, type: number): bigint | undefined {
  const bits = integerBits.get(type);
  if (bits === undefined || !(to > 1) || to > Number.MAX_SAFE_INTEGER) return undefined;
  const rounded = roundToMultiple(value, BigInt(Math.ceil(to)));
  return BigInt.asIntN(bits, rounded) === rounded ? rounded : undefined;
}

export function roundIntegerText(text: string, to: number, type: number): string | undefined {
  if (!/^-?\d{1,19}$/.test(text)) return undefined;
  return roundInteger(BigInt(text), to, type)?.toString();
}

function roundFloat(value: number, to: number, type: number): number | undefined {
  if (!Number.isFinite(value)) return undefined;
  const multiple = Math.sign(value) * Math.round(Math.abs(value) / to);
  // Through decimal digits, so that 3 * 0.1 is 0.3.
  const rounded = Number((multiple * to).toPrecision(type === typeOid.float4 ? 6 : 15));
  return Number.isFinite(type === typeOid.float4 ? Math.fround(rounded) : rounded) ? rounded : undefined;
}

export function roundFloatText(text: string, to: number, type: number): string | undefined {
  if (!/^-?\d+(?:\.\d+)?(?:e[+-]\d+)?$/.test(text)) return undefined;
  const rounded = roundFloat(Number(text), to, type);
  return rounded === undefined ? undefined : String(rounded === 0 ? 0 : rounded);
}

/** int2, int4, int8, float4 and float8 in binary. */
export function roundBinary(src: Buffer, start: number, end: number, type: number, to: number): Buffer | null {
  const size = end - start;
  const cell = Buffer.alloc(size === 2 || size === 4 || size === 8 ? size : 0);
  if (type === typeOid.float4 || type === typeOid.float8) {
    if (size !== (type === typeOid.float4 ? 4 : 8)) return null;
    const rounded = roundFloat(size === 4 ? src.readFloatBE(start) : src.readDoubleBE(start), to, type);
    if (rounded === undefined) return null;
    if (size === 4) cell.writeFloatBE(rounded === 0 ? 0 : rounded);
    else cell.writeDoubleBE(rounded === 0 ? 0 : rounded);
    return cell;
  }
  if (size * 8 !== integerBits.get(type)) return null;
  const value = size === 8 ? src.readBigInt64BE(start) : BigInt(src.readIntBE(start, size));
  const rounded = roundInteger(value, to, type);
  if (rounded === undefined) return null;
  if (size === 8) cell.writeBigInt64BE(rounded);
  else cell.writeIntBE(Number(rounded), 0, size);
  return cell;
}
