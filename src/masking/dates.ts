/**
 * Dates cut to their year or month, in PostgreSQL's two wire forms. Text is read in DateStyle ISO only. Both forms give
 * the same instant; infinities, dates before the year 1 and everything unreadable give nothing.
 */
export type DatePart = 'year' | 'month';

const datePattern = /^(\d{4,6})-(\d\d)-(\d\d)$/;
const timestampPattern = /^(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.\d{1,6})?([+-]\d\d(?::\d\d(?::\d\d)?)?)?$/;

/** `1984-07-12` to `1984-07-01` or `1984-01-01`. */
export function truncateDate(text: string, to: DatePart): string | undefined {
  const match = datePattern.exec(text);
  if (match === null) return undefined;
  const [, year = '', month = ''] = match;
  return `${year}-${to === 'year' ? '01' : month}-01`;
}

/** A timestamp, or a timestamptz, which is cut in UTC (as in binary, where no other zone is known) and written with `+00`. */
export function truncateTimestamp(text: string, to: DatePart): string | undefined {
  const match = timestampPattern.exec(text);
  if (match === null) return undefined;
  const [, year = '', month = '', day = '', hour = '', minute = '', second = '', offset] = match;
  if (offset === undefined) return `${year}-${to === 'year' ? '01' : month}-01 00:00:00`;
  const local =
    daysFromCivil(Number(year), Number(month), Number(day)) * 86_400 +
    Number(hour) * 3600 +
    Number(minute) * 60 +
    Number(second);
  const utc = civilFromDays(Math.floor((local - offsetSeconds(offset)) / 86_400));
  if (utc.year < 1) return undefined;
  const utcMonth = to === 'year' ? 1 : utc.month;
  return `${String(utc.year).padStart(4, '0')}-${String(utcMonth).padStart(2, '0')}-01 00:00:00+00`;
}

function offsetSeconds(offset: string): number {
  const [hours = '0', minutes = '0', seconds = '0'] = offset.slice(1).split(':');
  const size = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
  return offset.startsWith('-') ? -size : size;
}

/** Days between 1970-01-01 and PostgreSQL's epoch, 2000-01-01. */
const postgresEpochDays = 10_957;
const microsecondsPerDay = 86_400_000_000n;
const int32Max = 0x7fff_ffff;
const int64Max = 0x7fff_ffff_ffff_ffffn;

/** Binary date: int32 days since 2000-01-01; the largest and smallest values are the infinities. */
export function truncateBinaryDate(src: Buffer, start: number, end: number, to: DatePart): Buffer | null {
  if (end - start !== 4) return null;
  const days = src.readInt32BE(start);
  if (days === int32Max) return null;
  const truncated = truncateDays(days, to);
  if (truncated === undefined) return null;
  const cell = Buffer.alloc(4);
  cell.writeInt32BE(truncated);
  return cell;
}

/** Binary timestamp and timestamptz: int64 microseconds since 2000-01-01 (UTC). */
export function truncateBinaryTimestamp(src: Buffer, start: number, end: number, to: DatePart): Buffer | null {
  if (end - start !== 8) return null;
  const microseconds = src.readBigInt64BE(start);
  if (microseconds === int64Max) return null;
  let days = microseconds / microsecondsPerDay;
  if (microseconds < 0n && days * microsecondsPerDay !== microseconds) days -= 1n;
  const truncated = truncateDays(Number(days), to);
  if (truncated === undefined) return null;
  const cell = Buffer.alloc(8);
  cell.writeBigInt64BE(BigInt(truncated) * microsecondsPerDay);
  return cell;
}

function truncateDays(days: number, to: DatePart): number | undefined {
  const { year, month } = civilFromDays(days + postgresEpochDays);
  if (year < 1) return undefined;
  return daysFromCivil(year, to === 'year' ? 1 : month, 1) - postgresEpochDays;
}

/*
 * The proleptic Gregorian calendar in whole days, for every year that PostgreSQL knows (`Date` ends at 275760, a
 * timestamp at 294276). A "March year" begins on 1 March, so that the leap day is its last; 400 years are 146097 days.
 */

/** Days since 1970-01-01. */
export function daysFromCivil(year: number, month: number, day: number): number {
  const marchYear = month > 2 ? year : year - 1;
  const monthsSinceMarch = (month + 9) % 12;
  const leapDays = Math.floor(marchYear / 4) - Math.floor(marchYear / 100) + Math.floor(marchYear / 400);
  return marchYear * 365 + leapDays + Math.floor((monthsSinceMarch * 153 + 2) / 5) + day - 1 - 719_468;
}

export function civilFromDays(days: number): { readonly year: number; readonly month: number; readonly day: number } {
  // A first guess from the mean year is at most one year off; the loop settles it.
  let year = Math.floor((days + 719_468) / 365.2425);
  while (daysFromCivil(year, 3, 1) > days) year--;
  while (daysFromCivil(year + 1, 3, 1) <= days) year++;
  let rest = days - daysFromCivil(year, 3, 1);
  const monthsSinceMarch = Math.floor((rest * 5 + 2) / 153);
  rest -= Math.floor((monthsSinceMarch * 153 + 2) / 5);
  const month = monthsSinceMarch < 10 ? monthsSinceMarch + 3 : monthsSinceMarch - 9;
  return { year: month > 2 ? year : year + 1, month, day: rest + 1 };
}
