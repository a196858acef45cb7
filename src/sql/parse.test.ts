import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { loadParser, parseStatements } from './parse.ts';

before(loadParser);

const options = { maxBytes: 1_000_000 };

void test('an error has its position in characters, whatever bytes stand before it', () => {
  const parsed = parseStatements("select 'é😀' frm x y", options);
  assert.ok(!parsed.ok);
  assert.equal("select 'é😀' frm x y".slice(parsed.position).startsWith('x'), true, `${parsed.position}`);
});

void test('the parser survives texts that overrun its stack, many times over', async () => {
  const short = 'select a, b from t where c = 1';
  const long = `${short} ${' '.repeat(10_000)}`;
  const reference = JSON.stringify(parseStatements(short, options));
  // An instance that is not replaced stands about forty of these.
  for (let round = 0; round < 70; round++) {
    assert.equal(parseStatements(`select ${'a+'.repeat(40_000)}a`, options).ok, false);
    // Short texts never wait for a new instance.
    assert.equal(JSON.stringify(parseStatements(short, options)), reference);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(JSON.stringify(parseStatements(long, options)), reference);
});

void test('a flood of nested comments is refused before it takes seconds', () => {
  const parsed = parseStatements(`${'/*'.repeat(30_000)}${'*/'.repeat(30_000)} select 1`, options);
  assert.equal(parsed.ok, false);
});

void test('the size is measured in bytes', () => {
  assert.equal(parseStatements("select 'ééé'", { maxBytes: 15 }).ok, true);
  assert.equal(parseStatements("select 'ééé'", { maxBytes: 14 }).ok, false);
});
