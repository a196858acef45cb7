/** What others wrote (statements, names, comments, errors) does not act on the terminal of whoever reads it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import colors from 'picocolors';
import { CountersignError } from '../errors.ts';
import { facts, jsonText, print, printError, printExact, show, shownText, table } from './output.ts';

const colored = colors.createColors(true);

describe('text that others wrote', () => {
  const attacks = new Map([
    ['erases the line', 'drop table t; --\u001b[2K\rselect 1'],
    ['moves up', 'a\u001b[3A\u001b[0Jb'],
    ['conceals', '\u001b[8mdrop table t\u001b[28m'],
    ['with eight bits', '\u009b2K'],
    ['sets the title or the clipboard', '\u001b]52;c;ZXZpbA==\u0007'],
    ['backspaces', 'evil\b\b\b\bgood'],
    ['turns around', 'a\u202egnirts\u202c'],
    ['hides', 'pass\u200bword\u{e0041}'],
    ['a half character', 'a\ud800b'],
  ]);
  for (const [what, text] of attacks) {
    it(`is shown, not obeyed: ${what}`, () => {
      const shown = shownText(text, true);
      assert.doesNotMatch(shown, /(?!\n)[\p{C}]/u);
      assert.match(shown, /<U\+[0-9A-F]{4,6}>/);
      const json = jsonText({ text });
      assert.doesNotMatch(json, /\p{C}/u);
      assert.equal((JSON.parse(json) as { text: string }).text, text);
    });
  }

  it('leaves our own colours where there are any, lines and tabs', () => {
    const own = `${colored.bold('a')}\t${colored.red('b')}\n${colored.dim(colored.green('c'))}${colored.cyan('d')}${colored.yellow('e')}`;
    assert.equal(shownText(own, true), own);
    assert.ok(!shownText(own, false).includes('\u001b'));
    assert.equal(shownText('one\r\ntwo', true), 'one\ntwo');
  });

  it('is never printed as it came, but where a program asks for exact bytes', (t) => {
    const [written, complaints]: [string[], string[]] = [[], []];
    const out = t.mock.method(process.stdout, 'write', (text: string) => written.push(text) > 0);
    const err = t.mock.method(process.stderr, 'write', (text: string) => complaints.push(text) > 0);
    const evil = 'a\u001b[2Kb';
    print(evil);
    show({ json: false }, {}, () => evil);
    show({ json: true }, { evil }, () => '');
    printError(new CountersignError('internal', evil, { detail: evil, hint: evil }), false);
    printExact(evil);
    out.mock.restore();
    err.mock.restore();
    assert.deepEqual(written.slice(0, 3), ['a<U+001B>[2Kb\n', 'a<U+001B>[2Kb\n', '{\n  "evil": "a\\u001b[2Kb"\n}\n']);
    assert.equal(written.at(-1), `${evil}\n`);
    assert.ok(!complaints.join('').includes('\u001b[2K'));
  });

  it('makes no line that looks like another fact', () => {
    const text = facts([
      ['statement', 'select 1\nmasking policy  sha256:forged'],
      ['masking policy', 'sha256:real'],
    ]);
    const lines = stripVTControlCharacters(text).split('\n');
    assert.deepEqual(
      lines.filter((line) => line.startsWith('masking policy')),
      ['masking policy  sha256:real'],
    );
    assert.match(table(['A'], [['x\nB  forged']]), /forged/);
  });
});
