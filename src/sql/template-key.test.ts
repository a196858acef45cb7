import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { loadParser, parseStatements } from './parse.ts';
import { constantPlaceholder, templateKey } from './template-key.ts';

before(loadParser);

const shown = (text: string) => templateKey(text).replaceAll(constantPlaceholder, '?');

/** Text -> its key; `?` stands for the placeholder. */
const cases: readonly (readonly [string, string])[] = [
  ['select * from t where id = 7', 'select * from t where id = ?'],
  ['select * from t where id=7;', 'select * from t where id=?;'],
  ['select * from t where (id >= 10) and (id < 20)', 'select * from t where (id >= ?) and (id < ?)'],
  ['a <> 1 or a <= 2 or a > 3', 'a <> ? or a <= ? or a > ?'],
  ['update t set a = 5 where b =\n6', 'update t set a = ? where b =\n?'],
];

/** Their own keys: not a plain integer, not a plain comparison, or not readable without a parser. */
const unchanged = [
  'select 1',
  'limit 10',
  'f(a => 1)',
  'a -> 1',
  'a @> 1',
  'a =< 1',
  'a != 1',
  'a <= 1.5',
  'a = 1e5',
  'a = 1,2',
  'a = 0x1F',
  'a = 1_000',
  'a = 1::text',
  'a = -1',
  'a = 1234567890',
  'a = b1',
  'a := 1',
  "a = 1 and b = 'x'",
  'a = 1 and "b" = 2',
  'a = 1 and $1',
  'a = 1 -- c',
  'a = 1 /* c */',
  'a = 1 and é = 2',
  'a = 1 ? 2',
  'a = ? and b = 1',
  'a = 1 \\ 2',
  '',
];

void test('keys', () => {
  for (const [text, key] of cases) assert.equal(shown(text), key);
  for (const text of unchanged) assert.equal(templateKey(text), text);
});

/** The tree without locations and without the values of integers. */
function erased(text: string): string | undefined {
  const parsed = parseStatements(text, { maxBytes: 100_000 });
  if (!parsed.ok) return undefined;
  return JSON.stringify(
    parsed.statements.map((statement) => statement.tree),
    (key, value: unknown) => {
      if (
        key === 'location' ||
        key === 'rexpr_list_start' ||
        key === 'rexpr_list_end' ||
        key === 'list_start' ||
        key === 'list_end'
      )
        return undefined;
      return key === 'ival' ? 'integer' : value;
    },
  );
}

const token = fc.constantFrom(
  'select',
  'from',
  'where',
  'and',
  'or',
  'not',
  'order by',
  'limit',
  'group by',
  'as',
  'between',
  'in',
  'is null',
  'a',
  'b',
  't',
  't.a',
  'f',
  'x1',
  '=',
  '<',
  '>',
  '<>',
  '<=',
  '>=',
  '=>',
  '->',
  '@>',
  '!=',
  '+',
  '-',
  '*',
  '/',
  '::',
  '.',
  ',',
  '(',
  ')',
  '[',
  ']',
  ';',
  ':=',
  'int',
  'interval',
  'date',
  'case',
  'when',
  'then',
  'else',
  'end',
  'values',
  'insert into',
  'update',
  'set',
  'delete',
);
const gap = fc.constantFrom('', ' ', '  ', '\n', '\t');
const digits = fc.constantFrom('0', '00', '1', '7', '12', '999999999', '1234567890', '1.5', '1e3', '0x1f', '5a');

/** Pieces of text in which N marks a place for a number. */
const soup = fc.array(
  fc.tuple(fc.oneof({ weight: 3, arbitrary: token }, { weight: 2, arbitrary: fc.constant('N') }), gap),
  { minLength: 1, maxLength: 14 },
);
const shaped = fc.tuple(
  fc.constantFrom(
    'select a from t where ',
    'select * from t where not ',
    'update t set a = N where ',
    'delete from t where ',
    'select a, b = N from t order by a = N, ',
    'select count(*) from t group by a having ',
  ),
  fc.array(
    fc.tuple(
      fc.constantFrom('a', 't.b', 'f(a)', '(a + N)', 'N'),
      gap,
      fc.constantFrom('=', '<', '>', '<>', '<=', '>=', '+', '->', '='),
      gap,
      fc.constantFrom('N', 'N', 'a', '(N)', 'N::int', '-N', 'N + N', 'f(a => N)'),
    ),
    { minLength: 1, maxLength: 4 },
  ),
  fc.constantFrom(' and ', ' or ', ' and not ', '\nand\n'),
  fc.constantFrom('', ';', ' limit N', ' ; select N', ' order by N'),
);

function fill(pieces: readonly string[], numbers: readonly string[]): string {
  let next = 0;
  return pieces.map((piece) => piece.replaceAll('N', () => numbers[next++ % numbers.length] ?? '1')).join('');
}

const pieces = fc.oneof(
  soup.map((items) => items.flat()),
  shaped.map(([head, parts, glue, tail]) => [
    head,
    ...parts.flatMap((part, index) => (index === 0 ? part : [glue, ...part])),
    tail,
  ]),
);

const constants = fc.array(fc.constantFrom('0', '00', '1', '7', '12', '007', '999999999'), {
  minLength: 1,
  maxLength: 4,
});

/** Every text with this key is the key with some integers in the places of its constants. */
void test('texts of one key have trees that are equal but for integers', () => {
  let compared = 0;
  fc.assert(
    fc.property(pieces, fc.array(digits, { minLength: 1, maxLength: 5 }), constants, (parts, first, second) => {
      const one = fill(parts, first);
      const key = templateKey(one);
      if (key === one) return;
      let next = 0;
      const two = key.replaceAll(constantPlaceholder, () => second[next++ % second.length] ?? '1');
      assert.equal(templateKey(two), key);
      const tree = erased(one);
      if (tree !== undefined) compared++;
      assert.equal(erased(two), tree);
    }),
    { numRuns: 6_000 },
  );
  assert.ok(compared > 300, `only ${compared} texts could be parsed`);
});

void test('a key that is no text cannot be the key of another text', () => {
  fc.assert(
    fc.property(pieces, fc.array(digits, { minLength: 1, maxLength: 5 }), (parts, numbers) => {
      const text = fill(parts, numbers);
      const key = templateKey(text);
      assert.ok(key === text || key.includes(constantPlaceholder));
    }),
  );
});
