/**
 * Characters that make a text look like something else than it is. What is shown is what runs, so they are shown:
 * controls, invisible and direction-changing ones by their code point; letters that look like Latin ones are marked.
 */
import { hiddenCharacter } from '../../../src/lib/hidden-characters.ts';

export interface TextPiece {
  readonly text: string;
  /** `hidden`: nothing would be seen of it. `lookalike`: a letter of a script that shares shapes with Latin. */
  readonly kind: 'plain' | 'hidden' | 'lookalike';
}

/** Letters of other scripts that share shapes with Latin; wide forms; quotes, dashes and strokes that are no operators. */
const lookalike =
  /[\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Armenian}\p{Script=Cherokee}\p{Script=Lisu}\uff01-\uff5e]|[\u2010-\u2015\u2018-\u201f\u2024\u2044\u2215\u037e\u02bc\ua789]/u;

export function kindOf(character: string): TextPiece['kind'] {
  if (character === '\n' || character === '\t') return 'plain';
  if (hiddenCharacter.test(character)) return 'hidden';
  return lookalike.test(character) ? 'lookalike' : 'plain';
}

/** The text in pieces of one kind; a hidden character is a piece of its own. */
export function piecesOf(text: string): TextPiece[] {
  const pieces: { text: string; kind: TextPiece['kind'] }[] = [];
  for (const character of text) {
    const kind = kindOf(character);
    const last = pieces.at(-1);
    if (last !== undefined && last.kind === kind && kind !== 'hidden') last.text += character;
    else pieces.push({ text: character, kind });
  }
  return pieces;
}

/** How many of each are in a text. */
export function oddCounts(text: string): { readonly hidden: number; readonly lookalike: number } {
  let hiddenCount = 0;
  let lookalikeCount = 0;
  for (const character of text) {
    const kind = kindOf(character);
    if (kind === 'hidden') hiddenCount += 1;
    else if (kind === 'lookalike') lookalikeCount += 1;
  }
  return { hidden: hiddenCount, lookalike: lookalikeCount };
}
