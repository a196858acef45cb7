/**
 * Who else wrote a commit, from its message. Git's trailers (git-interpret-trailers) are a habit, not a grammar that
 * anybody enforces, so they are read in every form that people write, and everywhere in the message: an author too many
 * can decide on one request less; an author who is missed could approve their own work. Pure.
 */
export interface NameAndEmail {
  readonly name: string;
  readonly email: string;
}

/** Words before the colon that say that somebody had a part in it, without signs and in lower case. */
const authorWords =
  /^((co)?author(ed)?s?(by|with)?|writtenby|(co)?developed(by|with)|(co)?committe[dr](by)?|signedoffby|pair(ed|programmed)?(with|by)|mob(bed|programmed)?(with|by)|helpedby|withhelpfrom|onbehalfof|changesby|patchby|codeby)$/;
/** Co-authors behind other words; without a colon only if an address follows. */
const insideLine = /\bco[\s_-]?author(?:ed|s)?[\s_-]?(?:by|with)?(?:\s*[:=]\s*|\s+(?=[^:]*@))(.*)$/i;
const address = /[^\s<>()[\]{},;:"'`|]+@[^\s<>()[\]{},;:"'`|]+/g;
const quotedAddress = /"([^"<>\r\n]+)"@([^\s<>()[\]{},;:"'`|]+)/g;

/** One for each address that the two texts have; one with the text itself if it has none. */
export function everyAddress({ name, email }: NameAndEmail): NameAndEmail[] {
  const found = [...addressesIn(plain(email)), ...addressesIn(plain(name))];
  return found.length === 0 ? [{ name, email: email.trim() }] : found.map((one) => ({ name, email: one }));
}

/** Everybody in a trailer that names an author. Without an address, the name stands for it. */
export function coAuthorsIn(message: string): NameAndEmail[] {
  return valuesOf(message).flatMap((value) => {
    const found = addressesIn(value);
    const name = value.replace(/<.*/, '').trim().slice(0, 200);
    if (found.length > 0) return found.map((email) => ({ name: name.includes('@') ? email : name, email }));
    const text = value.replace(/[<>"]/g, ' ').trim();
    return text === '' ? [] : [{ name: text.slice(0, 200), email: '' }];
  });
}

/** The values of such trailers, with the lines that continue them. */
function valuesOf(message: string): string[] {
  const lines = plain(message).split(/\r\n|[\n\r\v\f\u0085\u2028\u2029]/);
  return lines.flatMap((line, at) => {
    // Quoted and listed lines count too.
    const [, key = '', rest = ''] = /^[\s>*#|•-]*([a-z][a-z _-]{1,40}?)\s*[:=]\s*(.*)$/i.exec(line) ?? [];
    const isTrailer = authorWords.test(key.toLowerCase().replace(/[\s_-]/g, ''));
    const first = isTrailer ? rest : insideLine.exec(line)?.[1];
    if (first === undefined) return [];
    let end = at + 1;
    while (end < lines.length && /^\s+\S/.test(lines[end] ?? '')) end++;
    return [[first, ...lines.slice(at + 1, end)].join(' ').replace(/\s+/g, ' ').trim()];
  });
}

function addressesIn(text: string): string[] {
  const quoted = [...text.matchAll(quotedAddress)].map(([, local = '', domain = '']) => `${local}@${domain}`);
  return [...quoted, ...(text.replace(quotedAddress, ' ').match(address) ?? [])];
}

/** Look-alikes of the signs that trailers are made of, and what nobody sees. */
function plain(text: string): string {
  return text
    .normalize('NFKC')
    .replace(/\p{Cf}/gu, '')
    .replace(/\p{Pd}|\u2212/gu, '-');
}
