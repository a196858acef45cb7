import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { asCountersignError, CountersignError, type ErrorCode, errorTable } from '../src/errors.ts';

/** The sections of docs/errors.md: a heading that is nothing but a code in backticks, and the text below it. */
function documentedCodes(): Map<string, string> {
  const text = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8');
  const sections = new Map<string, string>();
  for (const section of text.split(/^(?=#{2,4} )/m)) {
    const code = /^#{2,4} `([^`]+)`\s*$/m.exec(section.split('\n', 1)[0] ?? '')?.[1];
    if (code === undefined) continue;
    assert.ok(!sections.has(code), `docs/errors.md explains ${code} twice`);
    sections.set(code, section);
  }
  return sections;
}

void test('docs/errors.md has a section for every error code and for nothing else', () => {
  assert.deepEqual([...documentedCodes().keys()].sort(), Object.keys(errorTable).sort());
});

void test('each section of docs/errors.md names the SQLSTATE and the HTTP status of its code', () => {
  for (const [code, section] of documentedCodes()) {
    const entry = errorTable[code as ErrorCode];
    assert.ok(section.includes(entry.sqlstate), `${code}: SQLSTATE ${entry.sqlstate} is not in its section`);
    assert.ok(section.includes(String(entry.httpStatus)), `${code}: HTTP ${entry.httpStatus} is not in its section`);
  }
});

void test('every SQLSTATE has five characters and every HTTP status is an error', () => {
  for (const [code, { sqlstate, httpStatus }] of Object.entries(errorTable)) {
    assert.match(sqlstate, /^[0-9A-Z]{5}$/, code);
    assert.ok(httpStatus >= 400 && httpStatus <= 599, code);
  }
});

void test('an unexpected error becomes `internal` without its text', () => {
  const error = asCountersignError(new Error('value 123-45-6789 of column ssn'));
  assert.equal(error.code, 'internal');
  assert.doesNotMatch(`${error.message} ${error.hint} ${error.detail}`, /123-45-6789/);
  const expected = new CountersignError('grant_used', 'used');
  assert.equal(asCountersignError(expected), expected);
});
