import assert from 'node:assert/strict';
import test from 'node:test';
import { withoutLiterals } from './scrub.ts';

void test('literals go, names and parameters stay', () => {
  for (const [text, expected] of [
    ["select a from t where b = 'x''y' and c1 = 1.5e3", "select a from t where b = '…''…' and c1 = …"],
    ['select a from t where b = $1 and c$2 = 3', 'select a from t where b = $1 and c$2 = …'],
    ['update t set a = .25 where t.b1>.5', 'update t set a = … where t.b1>…'],
    ["update t set a = 'never closed", "update t set a = '…'"],
    [`select 1 as "it's", b from t where c = 'secret'`, `select … as "it's", b from t where c = '…'`],
    [`select b as "a 5" from t where "c"=5`, `select b as "a 5" from t where "c"=…`],
  ] as const)
    assert.equal(withoutLiterals(text), expected);
});

void test('a text whose literals a simple reading can miss is withheld whole', () => {
  for (const text of [
    'select $$secret$$',
    'select $1$$secret$$',
    'select $a$secret$a$, $1',
    "select E'\\'secret'",
    "select 1 -- 'secret",
    "select /* ' */ 'secret'",
  ])
    assert.match(withoutLiterals(text), /^\(text of \d+ characters withheld/, text);
});
