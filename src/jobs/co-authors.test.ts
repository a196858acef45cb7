import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coAuthorsIn, everyAddress } from './co-authors.ts';

const eli = 'eli@example.test';
const addresses = (message: string) => coAuthorsIn(message).map(({ email }) => email);

void test('a co-author is read in every form', () => {
  for (const line of [
    'Co-authored-by: Eli E <eli@example.test>',
    'co-authored-by:Eli<eli@example.test>',
    'CO-AUTHORED-BY : Eli <eli@example.test>',
    '\tCo-Authored-By:   "Eli, E." <eli@example.test>  ',
    'Co-authored-by: eli@example.test',
    'Co-authored-by: <mailto:eli@example.test>',
    'Co-authored-by: Eli (eli@example.test)',
    'Co-authored-by:\n  Eli\n  <eli@example.test>',
    'Co-authored-by: Eli\r\n\t<eli@example.test>',
    '> Co-authored-by: Eli <eli@example.test>',
    '* Co-authored-by: Eli <eli@example.test>',
    'Co‑authored‑by: Eli <eli@example.test>',
    'Co–authored–by: Eli <eli@example.test>',
    'Ｃｏ-authored-by： Eli <eli＠example.test>',
    'Co-\u200bauthored-by: Eli <eli@example.test>',
    'Co-authored by: Eli <eli@example.test>',
    'Co_authored_by = Eli <eli@example.test>',
    'Coauthored-by: Eli <eli@example.test>',
    'Co-author: Eli <eli@example.test>',
    'Co-authors: Eli <eli@example.test>',
    'Authored-by: Eli <eli@example.test>',
    'Author: Eli <eli@example.test>',
    'Co-developed-by: Eli <eli@example.test>',
    'Committed-by: Eli <eli@example.test>',
    'Signed-off-by: Eli <eli@example.test>',
    'Pair-programmed-with: Eli <eli@example.test>',
    'On-behalf-of: Eli <eli@example.test>',
    'Faster. Co-authored-by: Eli <eli@example.test>',
    'Faster, co-authored by Eli <eli@example.test>',
  ]) {
    for (const message of [line, `Subject\n\n${line}\n`, `Subject\n\n${line}\n\nMore words.\n\nFixes: 12\n`]) {
      assert.deepEqual(addresses(message), [eli], JSON.stringify(message));
    }
  }
});

void test('several on several lines, on one line, and in the form of a mailmap', () => {
  const message = [
    'Subject',
    '',
    'Co-authored-by: A <a@example.test>',
    'Reviewed-by: R <r@example.test>',
    'Co-authored-by: B <b@example.test>, C <c@example.test>',
    'Co-authored-by: Proper <d@example.test> Commit <e@example.test>',
    'Co-authored-by: "odd name"@example.test',
  ].join('\n');
  assert.deepEqual(addresses(message), [
    'a@example.test',
    'b@example.test',
    'c@example.test',
    'd@example.test',
    'e@example.test',
    'odd name@example.test',
  ]);
});

void test('one without an address is named, so that nobody is independent of them', () => {
  assert.deepEqual(coAuthorsIn('Co-authored-by: Eli'), [{ name: 'Eli', email: '' }]);
  assert.deepEqual(coAuthorsIn('Co-authored-by: Eli <eli at example dot test>')[0]?.email, '');
});

void test('other lines name no author', () => {
  for (const line of [
    'Co-authored-by:',
    'See eli@example.test',
    'Reviewed-by: eli@example.test',
    'co-authored',
    'co-authored by the team',
    '',
  ]) {
    assert.deepEqual(coAuthorsIn(line), [], line);
  }
});

void test('every address of a commit header counts, in its name too', () => {
  assert.deepEqual(everyAddress({ name: 'Eli', email: eli }), [{ name: 'Eli', email: eli }]);
  assert.deepEqual(
    everyAddress({ name: 'Dora, for eli@example.test', email: 'dora@example.test' }).map(({ email }) => email),
    ['dora@example.test', eli],
  );
  assert.deepEqual(everyAddress({ name: 'Eli', email: 'none' }), [{ name: 'Eli', email: 'none' }]);
});
