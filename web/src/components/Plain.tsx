/** Text that somebody else wrote: a title, a comment, a name. Isolated from its surroundings, nothing in it hidden. */
import { codePoint } from '../../../src/lib/hidden-characters.ts';
import { piecesOf, type TextPiece } from '../lib/odd-characters.ts';

export function Plain({ text }: { readonly text: string }) {
  return (
    <bdi>
      <Pieces text={text} isCode={false} />
    </bdi>
  );
}

/** In code also what looks like something else is marked; in people's words it is a matter of language. */
export function Pieces({ text, isCode }: { readonly text: string; readonly isCode: boolean }) {
  const pieces = piecesOf(text).map((piece) =>
    piece.kind === 'lookalike' && !isCode ? { ...piece, kind: 'plain' as const } : piece,
  );
  if (pieces.every(({ kind }) => kind === 'plain')) return text;
  return pieces.map((piece, index) => <Piece key={index} piece={piece} />);
}

function Piece({ piece: { text, kind } }: { readonly piece: TextPiece }) {
  if (kind === 'plain') return text;
  if (kind === 'hidden') return <mark className="odd odd-hidden">{codePoint(text)}</mark>;
  return (
    <mark className="odd odd-lookalike" title={Array.from(text, codePoint).join(' ')}>
      {text}
    </mark>
  );
}
