/** Attacks on detectors: a value is put into something else, so that it does not look like one any more. */
import assert from 'node:assert/strict';
import { scriptList } from './attack.ts';
import { errorsOf, frame, rowsOf } from './wire.ts';

const { scripts, add } = scriptList('containers', 'masked');
export const containerScripts = scripts;

/** The card number in the notes, padded as long as it takes for the last byte of the length to be a digit. */
const padded = ['48', '308', '13364'].map((size) => `rpad(substr(notes, 19, 19), ${size})`);

for (const what of [
  ...padded.flatMap((value) => [`row(${value})`, `array[${value}]`, `row(1, row(${value}), array[row(${value})])`]),
  'row(c.notes, c.profile)',
  'array[row(1, notes)]',
  "array['card', notes, null]",
  'array[[notes], [notes]]',
  'array[to_json(notes)]',
  'array[profile]',
  'array[profile::json]',
  'row(convert_to(notes, $$UTF8$$))',
  'array[convert_to(notes, $$UTF8$$)]',
  'array[row(convert_to(notes, $$UTF8$$))]',
  'xmlelement(name a, notes)',
  'array[xmlelement(name a, xmlattributes(notes as b))]',
  'row(xmlelement(name a, notes))',
  "array['\"' || notes || '\\']",
  "row('(' || notes || '\"')",
  "to_tsvector('simple', notes)",
  "array[to_tsvector('simple', notes)]",
  "to_tsquery('simple', quote_literal(substr(notes, 48)))",
]) {
  for (const format of [0, 1] as const) {
    add(`what detectors find is found in ${what}, ${format === 0 ? 'text' : 'binary'}`, async (world) => {
      const session = await world.raw();
      const batch = [
        frame.parse('', `select ${what} from customers c where id < 4`),
        frame.bind('', '', [], format),
        frame.execute(''),
      ];
      const answers = await session.run(1, ...batch, frame.sync());
      assert.deepEqual(errorsOf(answers), []);
      assert.equal(rowsOf(answers), 3);
      session.send(frame.raw('X'));
    });
  }
}
