/**
 * Characters of which nothing would be seen, or that would change how what is around them is seen: controls (terminals obey
 * them), formats (bidi, zero width, tags), separators that are no plain space, fillers that draw nothing, variation
 * selectors, surrogates and private use. Line feed and tab are among them; who shows text lets those pass.
 */
export const hiddenCharacter =
  /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]|(?! )\p{Zs}|\u034f|[\u115f\u1160\u3164\uffa0]|[\u17b4\u17b5]|[\u180b-\u180f]|[\ufe00-\ufe0f]|[\u{e0100}-\u{e01ef}]/u;

/** `U+202E`. */
export function codePoint(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
}
