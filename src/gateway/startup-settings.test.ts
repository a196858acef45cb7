import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startupSettings } from './startup-settings.ts';

const permissive = { settingDecision: () => ({ verdict: 'allow', policies: ['test'], reason: '' }) as never };

function settings(parameters: Record<string, string>, limitMs = 0): Record<string, string> {
  return startupSettings(new Map(Object.entries({ user: 'u', ...parameters })), permissive, limitMs).upstream;
}

function refused(parameters: Record<string, string>, limitMs: number): void {
  assert.throws(
    () => settings(parameters, limitMs),
    (error: Error & { code?: string; detail?: string }) =>
      error.code === 'startup_setting_refused' && (error.detail ?? '').includes('countersign/statement-timeout'),
    JSON.stringify(parameters),
  );
}

describe('the time that a statement may take', () => {
  it("is set at the target, and is the client's own matter where there is no limit", () => {
    assert.deepEqual(settings({}, 5_000), { statement_timeout: '5000' });
    assert.deepEqual(settings({}), {});
    assert.deepEqual(settings({ statement_timeout: '0' }), { statement_timeout: '0' });
  });

  it('may be lowered in every way that PostgreSQL writes a time', () => {
    for (const value of ['5000', '1', '5s', ' 4.5 s ', '5000ms', '2000000us', '0.05min', '0.001h']) {
      assert.deepEqual(settings({ statement_timeout: value }, 5_000), { statement_timeout: value });
    }
    assert.deepEqual(settings({ options: '-c statement_timeout=3s' }, 5_000), { statement_timeout: '3s' });
    assert.deepEqual(settings({ Statement_Timeout: '3s' }, 5_000), { statement_timeout: '3s' });
  });

  it('may not be raised, nor turned off, nor given in a way that we cannot read', () => {
    for (const value of [
      '5001',
      '0',
      '-1',
      '6s',
      '1min',
      '1d',
      '400us',
      '0.4',
      '',
      '5S',
      '0x10',
      '1e3',
      '5 s 1',
      'default',
    ]) {
      refused({ statement_timeout: value }, 5_000);
    }
    refused({ options: '-c statement_timeout=0' }, 5_000);
    refused({ options: '--statement-timeout=1h' }, 5_000);
    refused({ STATEMENT_TIMEOUT: '0' }, 5_000);
    refused({ statement_timeout: '3s', options: '-c statement_timeout=0' }, 5_000);
  });
});

describe('what is no setting', () => {
  it('does not go to the target as one', () => {
    assert.deepEqual(settings({ database: 'd', replication: 'off', '_pq_.x': '1' }), {});
  });
});
