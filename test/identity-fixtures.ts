/** The part `identity` of a configuration, as a file would say it, and what a refused proof looks like. */
import assert from 'node:assert/strict';
import { parseConfiguration } from '../src/config/load.ts';
import type { IdentityConfiguration } from '../src/config/schema.ts';
import { CountersignError, type ErrorCode } from '../src/errors.ts';

export function identityOf(identity: Record<string, unknown>): IdentityConfiguration {
  const credential = { user: 'u', password: 'p' };
  const whole = {
    dataDirectory: 'data',
    store: { url: 'postgresql://localhost/control' },
    gateway: { postgres: { requireTls: false } },
    identity,
    connections: [
      {
        name: 'crm',
        engine: 'postgres',
        host: 'db',
        database: 'crm',
        credentials: { gateway: credential, designer: credential, executor: credential },
      },
    ],
  };
  return parseConfiguration(JSON.stringify(whole), 'test.yaml').identity;
}

export async function refused(work: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<CountersignError> {
  let caught: unknown;
  try {
    await work;
  } catch (error) {
    caught = error;
  }
  assert(caught instanceof CountersignError, `expected ${code}, got ${String(caught)}`);
  assert.equal(caught.code, code, caught.message);
  assert.match([caught.message, caught.detail].join('\n'), message);
  return caught;
}

export function misconfigured(work: () => unknown, message: RegExp): void {
  assert.throws(work, (error: unknown) => {
    assert(error instanceof CountersignError, String(error));
    assert.equal(error.code, 'configuration_invalid');
    assert.match(error.message, message);
    return true;
  });
}
