/** The form in which names and patterns are compared: case does not count. */
export function foldCase(name: string): string {
  return name.normalize('NFC').toLowerCase();
}

/** A matcher for a pattern in which `*` stands for any characters, also none. Takes names in `foldCase` form. Never backtracks. */
export function compileGlob(pattern: string): (foldedName: string) => boolean {
  const pieces = foldCase(pattern).split('*');
  const first = pieces[0] ?? '';
  if (pieces.length === 1) return (name) => name === first;
  const last = pieces.at(-1) ?? '';
  const middle = pieces.slice(1, -1);
  return (name) => {
    if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false;
    const end = name.length - last.length;
    let at = first.length;
    for (const piece of middle) {
      const found = name.indexOf(piece, at);
      if (found < 0 || found + piece.length > end) return false;
      at = found + piece.length;
    }
    return true;
  };
}
