/** For the programs in TypeScript: the environment that the runner made, and the lines it wants. */
import { readFileSync } from 'node:fs';
import type { Line } from './protocol.ts';

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set; the runner starts this program`);
  return value;
}

export const host = variable('CLIENT_HOST');
export const port = Number(variable('CLIENT_PORT'));
export const gatewayPort = Number(variable('CLIENT_GATEWAY_PORT'));
export const caFile = variable('CLIENT_CA');
export const ca = readFileSync(caFile, 'utf8');
export const database = variable('CLIENT_DATABASE');
export const scratchDirectory = variable('CLIENT_SCRATCH');

/** A credential that the gateway issued. */
export function login(who: 'READER' | 'DESIGNER'): { user: string; password: string } {
  return { user: variable(`CLIENT_${who}`), password: variable(`CLIENT_${who}_PASSWORD`) };
}

export function report(line: Line): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Runs one check; what it throws is its failure. */
export async function check(name: string, work: () => Promise<Omit<Line, 'check'>>): Promise<void> {
  try {
    report({ check: name, ...(await work()) });
  } catch (error) {
    report({ check: name, ok: false, detail: String(error) });
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export type Row = Record<string, unknown>;

/** Rows as the runner wants them. */
export function texts(rows: readonly Row[]): (string | null)[][] {
  const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
  return rows.map((row) => Object.values(row).map((value) => (value === null ? null : text(value))));
}

export const slow = 'select count(*) from plain a, plain b, plain c, plain d, plain e, plain f';
