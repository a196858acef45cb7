/** What is too costly for the parser is not given to it, however the text hides it; what people write is. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { tooCostly } from './parse-cost.ts';
import { loadParser, parseStatements, scanTokens } from './parse.ts';

const maxBytes = 256 * 1024;
const many = (count: number, piece: (index: number) => string, separator = ', ') =>
  Array.from({ length: count }, (_, index) => piece(index)).join(separator);

before(loadParser);

describe('a costly text is refused', () => {
  for (const [name, text, reason] of [
    ['a run of operator characters', `select 1 ${'+'.repeat(65)} 1`, /operator/],
    ['such a run of other signs', `select 1 ${'+-'.repeat(33)} 1`, /operator/],
    ['very many words', `select ${many(60_000, () => '1', ',')}`, /words and signs/],
    ['very many signs', `select ${'('.repeat(60_000)}`, /words and signs/],
    ['very many statements', 'select 1;'.repeat(1_001), /1000 statements/],
    ['comments in comments', `select 1 ${'/*'.repeat(2_001)}${' */'.repeat(2_001)}`, /comments/],
    [
      'columns that share a source',
      `update t set (${many(400, (index) => `c${index}`)}) = (select ${many(400, () => '1')})`,
      /400 columns/,
    ],
    [
      'the same, with a comment in between',
      `update t set (${many(400, () => 'c')}) /* ( */ -- (\n = row(${many(400, () => '1')})`,
      /400 columns/,
    ],
  ] as const) {
    it(name, () => {
      assert.match(tooCostly(text, maxBytes) ?? 'it passes', reason);
      const parsed = parseStatements(text, { maxBytes });
      assert.ok(!parsed.ok && reason.test(parsed.reason));
      assert.equal(scanTokens(text, { maxBytes }), undefined);
    });
  }
});

describe('what people write passes', () => {
  for (const [name, text] of [
    [
      'a large INSERT',
      `insert into t values ${many(4_000, (index) => `(${index}, 'name ${index}', 'a remark about it', null)`)}`,
    ],
    ['a document in a literal', `select '${'{"a":[1,2,3],"b":"+-+-+-+-"} '.repeat(8_000)}'`],
    ['a document in dollar quotes', `select $json$${'{"a":[1,2,3],"b":"it\'s"} '.repeat(8_000)}$json$`],
    ['a list of keys', `select * from t where id in (${many(20_000, (index) => String(100_000_000 + index))})`],
    [
      'columns from a query',
      `update t set (${many(60, (index) => `c${index}`)}) = (select ${many(60, (index) => `s.c${index}`)} from s)`,
    ],
    ['a line of a comment', `-- ${'-'.repeat(300)}\nselect 1 /****************${'*'.repeat(300)}/`],
    ['a migration', many(900, (index) => `alter table t add column c${index} text;`, '\n')],
  ] as const) {
    it(name, () => {
      assert.equal(tooCostly(text, maxBytes), undefined);
      assert.equal(parseStatements(text, { maxBytes }).ok, true);
    });
  }
});

describe('quotes hide nothing', () => {
  const pieces = [
    "'",
    "''",
    '"',
    '""',
    '\\',
    "\\'",
    "E'",
    "e'",
    "E'\\''",
    "U&'",
    "U&'\\'",
    "N'",
    "B'0'",
    "x'",
    '$$',
    '$a$',
    '$b$',
    '$1',
    '1',
    '1.',
    '1e',
    'a',
    'E',
    'é',
    'aE',
    '_',
    '\n',
    ' ',
    '\t',
    '--',
    '/*',
    '*/',
    '(',
    ')',
    ',',
    ';',
    '=',
    '+',
    '-',
    '@',
    '.',
    '::',
    '[',
    ']',
  ];

  it('from the count: what the parser reads as words behind them is counted', () => {
    let told = 0;
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 14 }), (chosen) => {
        const start = `select ${chosen.join('')}`;
        const last = scanTokens(`${start} ,7,7`, { maxBytes })?.slice(-4);
        // Only where the parser comes out of every quote and comment is there something to count.
        if (last?.map(({ text }) => text).join('') !== ',7,7') return;
        told++;
        assert.notEqual(tooCostly(`${start} ${',7'.repeat(1_500)}`, 1), undefined, JSON.stringify(start));
      }),
      { numRuns: 20_000 },
    );
    assert.ok(told > 1_000, `${told}`);
  });
});
