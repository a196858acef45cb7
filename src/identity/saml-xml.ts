/**
 * Reads the XML of a SAML message, strictly and without I/O: elements, attributes, text, the five entities of XML itself
 * and character references. Whatever else XML 1.0 has (DOCTYPE, entities, comments, CDATA, processing instructions) no
 * provider needs in a response, and attacks are made of it, so it is refused.
 */
import { CountersignError } from '../errors.ts';

export interface XmlElement {
  /** Without its prefix. */
  readonly name: string;
  readonly namespace: string;
  /** Those without a prefix; others are of no use here. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** The element's own text, not that of its children. */
  readonly text: string;
}

interface OpenElement extends XmlElement {
  readonly qualifiedName: string;
  readonly attributes: Map<string, string>;
  readonly children: OpenElement[];
  readonly namespaces: ReadonlyMap<string, string>;
  text: string;
}

const maxDepth = 40;
/** XPath over the message, which the check of its signature needs, takes a time that grows with the square of this. */
const maxElements = 2_000;
/** What an element inherits is copied for each that declares more. */
const maxNamespaces = 64;
const declaration = /^\uFEFF?(<\?xml\s[^<>?]*\?>)?\s*/;
const startOfTag = /<([A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?)/y;
const attribute = /\s+([A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')/y;
const endOfTag = /\s*(\/?)>/y;
const closingTag = /<\/([\w.:-]+)\s*>/y;
const text = /[^<]+/y;
const entities: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
]);

/** @throws CountersignError `saml_response_invalid` */
export function parseXml(document: string): XmlElement {
  const parser = new Parser(document);
  return parser.document();
}

class Parser {
  readonly #text: string;
  #at = 0;
  #elements = 0;

  constructor(document: string) {
    this.#text = document;
  }

  document(): XmlElement {
    this.#at = declaration.exec(this.#text)?.[0].length ?? 0;
    const open: OpenElement[] = [];
    let root: OpenElement | undefined;
    while (this.#at < this.#text.length) {
      const words = this.#take(text)?.[0];
      if (words !== undefined) {
        const parent = open.at(-1);
        if (parent !== undefined) parent.text += decoded(words);
        else if (words.trim() !== '') throw refused('text outside of its root element');
        continue;
      }
      const closed = this.#take(closingTag)?.[1];
      if (closed !== undefined) {
        if (open.pop()?.qualifiedName !== closed) throw refused('an end tag that ends nothing');
        continue;
      }
      const { element, isEmpty } = this.#element(open.at(-1));
      if (open.length === 0 && root !== undefined) throw refused('two root elements');
      root ??= element;
      open.at(-1)?.children.push(element);
      if (!isEmpty) open.push(element);
      if (open.length > maxDepth) throw refused('elements too deep in one another');
    }
    if (root === undefined || open.length > 0) throw refused('no whole root element');
    return root;
  }

  #element(parent: OpenElement | undefined): { element: OpenElement; isEmpty: boolean } {
    const qualifiedName = this.#take(startOfTag)?.[1];
    if (qualifiedName === undefined) {
      throw refused('markup that is neither an element nor text (a comment, DOCTYPE, CDATA or processing instruction)');
    }
    if (++this.#elements > maxElements) throw refused(`more than ${maxElements} elements`);
    const written = new Map<string, string>();
    for (let found = this.#take(attribute); found !== null; found = this.#take(attribute)) {
      const [, name = '', double, single] = found;
      if (written.has(name)) throw refused(`the attribute ${name} twice in one element`);
      written.set(name, decoded((double ?? single ?? '').replace(/[\t\r\n]/g, ' ')));
    }
    const end = this.#take(endOfTag);
    if (end === null) throw refused('a tag that is not well-formed');
    const namespaces = scopeOf(parent?.namespaces ?? new Map(), written);
    const [prefix, name] = splitName(qualifiedName);
    const namespace = namespaces.get(prefix) ?? '';
    if (prefix !== '' && namespace === '') throw refused(`the prefix ${prefix}, which is not declared`);
    const attributes = new Map([...written].filter(([key]) => key !== 'xmlns' && !key.includes(':')));
    const element = { name, namespace, attributes, children: [], text: '', qualifiedName, namespaces };
    return { element, isEmpty: end[1] === '/' };
  }

  #take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found !== null) this.#at = pattern.lastIndex;
    return found;
  }
}

function scopeOf(
  outer: ReadonlyMap<string, string>,
  written: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const declared = [...written].filter(([name]) => name === 'xmlns' || name.startsWith('xmlns:'));
  if (declared.length === 0) return outer;
  const scope = new Map([...outer, ...declared.map(([name, uri]) => [name.slice('xmlns:'.length), uri] as const)]);
  if (scope.size > maxNamespaces) throw refused(`more than ${maxNamespaces} namespaces at one place`);
  return scope;
}

function splitName(name: string): [prefix: string, local: string] {
  const colon = name.indexOf(':');
  return colon === -1 ? ['', name] : [name.slice(0, colon), name.slice(colon + 1)];
}

function decoded(raw: string): string {
  if (!raw.includes('&')) return raw;
  return raw.replace(/&([^;&]*);?/g, (whole, name: string) => {
    const known = entities.get(name);
    if (known !== undefined && whole.endsWith(';')) return known;
    const [, hex, decimal] = /^#(?:x([0-9A-Fa-f]{1,6})|([0-9]{1,7}))$/.exec(name) ?? [];
    const code = hex === undefined ? Number(decimal ?? Number.NaN) : Number.parseInt(hex, 16);
    if (!whole.endsWith(';') || !(code > 0 && code <= 0x10ffff))
      throw refused('an entity that XML itself does not have');
    return String.fromCodePoint(code);
  });
}

function refused(what: string): CountersignError {
  return new CountersignError('saml_response_invalid', `the SAML response has ${what}`);
}
