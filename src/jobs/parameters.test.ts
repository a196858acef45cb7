import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CountersignError } from '../errors.ts';
import {
  canonicalValue,
  checkParameterValues,
  compareValues,
  findParameters,
  renderSource,
  type JobParameter,
  type ParameterType,
} from './parameters.ts';
import { quoteIdentifier, quoteLiteral } from './sql-text.ts';

const of = (type: ParameterType, more: Partial<JobParameter> = {}): JobParameter => ({
  type,
  allowed: undefined,
  min: undefined,
  max: undefined,
  default: undefined,
  ...more,
});

const names = (text: string) => findParameters(text).map((use) => use.name);

void describe('parameters in a source', () => {
  const cases: [string, string, string[]][] = [
    ['a plain one', 'select :a', ['a']],
    ['a cast', 'select x::text, :a::int', ['a']],
    ['strings', "select ':a', 'it''s :b', :c", ['c']],
    ['an E string with an escaped quote', "select E'\\' :a', :b", ['b']],
    ['a string after a name that ends in e', "select namee' :a', :b", ['b']],
    ['backslashes in an ordinary string', "select '\\', :a", ['a']],
    ['a continued E string', "select E'x'\n  '\\' :a ', :b", ['b']],
    ['a continued E string with a comment between', "select E'x' -- c\n '\\' :a ', :b", ['b']],
    ['quoted names', 'select ":a", "x"":b", :c', ['c']],
    ['line comments', 'select 1 -- :a\n, :b', ['b']],
    ['nested comments', 'select /* :a /* :b */ :c */ :d', ['d']],
    ['dollar quotes', 'select $$ :a $$, $x$ :b $$ :c $x$, :d', ['d']],
    ['a dollar inside a name', 'select a$b$ , :c, d$b$', ['c']],
    ['an unterminated string', "select ' :a", []],
    ['repeated ones', 'select :a, :a', ['a', 'a']],
    ['a lone colon', 'select a[1 : 2]', []],
  ];
  for (const [what, text, expected] of cases) {
    void test(`reads ${what}`, () => {
      assert.deepEqual(names(text), expected);
    });
  }

  void test('puts constants with their types in place', () => {
    const parameters = { r: of('text'), n: of('int'), d: of('date') };
    const text = renderSource("select ':r' where a = :r and b > -:n and c < :d", parameters, {
      r: "O'Neil\\",
      n: '-5',
      d: '2024-02-29',
    });
    assert.equal(
      text,
      "select ':r' where a = (E'O''Neil\\\\'::text) and b > -('-5'::bigint) and c < ('2024-02-29'::date)",
    );
  });

  void test('lists what is wrong with the values', () => {
    const parameters = {
      r: of('text', { allowed: ['EU', 'US'] }),
      n: of('int', { min: '1', max: '10' }),
      d: of('date'),
    };
    assert.throws(
      () => checkParameterValues(parameters, { r: 'XX', n: '11', x: '1' }),
      (error) => {
        assert.ok(error instanceof CountersignError);
        assert.equal(error.code, 'input_invalid');
        for (const part of [
          'x: the job has no',
          'r: expected one of EU, US',
          'n: expected at most 10',
          'd: a value is',
        ]) {
          assert.ok(error.message.includes(part), `${part} in ${error.message}`);
        }
        return true;
      },
    );
  });

  void test('a value that an object inherits is no value', () => {
    assert.throws(() => checkParameterValues({ toString: of('text') }, {}), /toString: a value is required/);
  });

  const values: [ParameterType, string, string | undefined][] = [
    ['int', '007', '7'],
    ['int', '9223372036854775807', '9223372036854775807'],
    ['int', '9223372036854775808', undefined],
    ['int', '1.0', undefined],
    ['int', '1 or 1=1', undefined],
    ['numeric', '1.50', '1.50'],
    ['numeric', '1e5', undefined],
    ['numeric', 'NaN', undefined],
    ['boolean', 'true', 'true'],
    ['boolean', 't', undefined],
    ['date', '2024-02-30', undefined],
    ['date', 'today', undefined],
    ['date', '2024-02-29', '2024-02-29'],
    ['timestamp', '2024-01-02T03:04', '2024-01-02 03:04:00'],
    ['timestamp', '2024-01-02 25:00:00', undefined],
    ['timestamp', 'now', undefined],
    ['text', 'a\0b', undefined],
    ['text', '\ud800', undefined],
  ];
  for (const [type, value, expected] of values) {
    void test(`${type} ${JSON.stringify(value)} is ${expected === undefined ? 'refused' : 'accepted'}`, () => {
      assert.equal(canonicalValue(type, value), expected);
    });
  }

  void test('numbers are compared as numbers', () => {
    assert.ok(compareValues('int', '9', '10') < 0);
    assert.ok(compareValues('numeric', '-1.5', '-1.25') < 0);
    assert.equal(compareValues('numeric', '1.50', '1.5'), 0);
  });
});

void describe('SQL constants and names', () => {
  // A reader of its own, after PostgreSQL's rules, that does not share code with the writer.
  function readLiteral(text: string): string {
    const escapes = text.startsWith('E');
    let value = '';
    for (let at = escapes ? 2 : 1; at < text.length - 1; at++) {
      if (escapes && text[at] === '\\') at++;
      else if (text[at] === "'") {
        assert.equal(text[at + 1], "'", 'a quote ends the constant early');
        at++;
      } else assert.ok(escapes || text[at] !== '\\', 'a bare backslash depends on a setting');
      value += text[at];
    }
    return value;
  }

  void test('every text comes back', () => {
    const tricky = fc.string({ unit: fc.constantFrom("'", '\\', 'a', '$', '"', ':', '\n', 'é'), maxLength: 20 });
    fc.assert(
      fc.property(tricky, (value) => {
        assert.equal(readLiteral(quoteLiteral(value)), value);
      }),
    );
  });

  void test('NUL is refused', () => {
    assert.throws(() => quoteLiteral('a\0'), CountersignError);
    assert.throws(() => quoteIdentifier('a\0'), CountersignError);
  });

  void test('quotes in names are doubled', () => {
    assert.equal(quoteIdentifier('a"b'), '"a""b"');
  });
});
