/**
 * Masking rules against what is really there: rules that match no column anywhere, and columns that look sensitive (by
 * name, by type with name, by sampled values) and have no mask. Samples are read by the gateway's own account and looked
 * at by the detectors here; a value never leaves this file, only which detector found something, and in what share.
 */
import type { MaskingTemplateConfiguration } from '../config/schema.ts';
import { compileDetectors, type BuiltInDetector } from '../masking/detectors.ts';
import { compileMasking, type MaskingTemplate } from '../masking/policy.ts';
import type { MaskIndex } from '../masking/mask-index.ts';
import type { Catalogue, CatalogueColumn, CatalogueRelation } from '../sql/statement.ts';
import type { TargetQuery } from './account-check.ts';
import type { Finding } from './finding.ts';

/** One connection's catalogue with the rules that apply there. */
export interface MaskedCatalogue {
  readonly connection: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly catalogue: Catalogue;
  readonly index: MaskIndex;
}

// ---- rules that match nothing ----

/** @param all the catalogues of every connection, those that could not be read left out */
export function idleRuleFindings(
  templates: readonly MaskingTemplateConfiguration[],
  all: readonly MaskedCatalogue[],
): Finding[] {
  return templates.flatMap((template) => {
    const here = all.filter(({ labels }) =>
      Object.entries(template.appliesTo).every(([name, value]) => labels[name] === value),
    );
    if (here.length === 0) {
      const what = `no connection has the labels ${JSON.stringify(template.appliesTo)}`;
      return [idle('masking-idle-template', `masking template ${template.name}`, what)];
    }
    return template.columns
      .map((column, at) => ({ column, at }))
      .filter(({ column }) => !here.some(({ catalogue }) => matchesAny(template, column, catalogue)))
      .map(({ column, at }) =>
        idle(
          'masking-idle-rule',
          `masking template ${template.name}, columns[${at}]`,
          `${column.match} matches no column on ${here.map((one) => one.connection).join(', ')}`,
        ),
      );
  });
}

function matchesAny(
  template: MaskingTemplateConfiguration,
  column: MaskingTemplateConfiguration['columns'][number],
  catalogue: Catalogue,
): boolean {
  const one: MaskingTemplate = { name: template.name, appliesTo: {}, columns: [column], detectors: [] };
  const rules = compileMasking([one], {}, { hashKey: Buffer.alloc(32) });
  return catalogue.relations.some((relation) =>
    relation.columns.some(({ name }) => rules.columnRule(relation.schema, relation.name, name) !== undefined),
  );
}

function idle(check: string, where: string, what: string): Finding {
  return {
    check,
    severity: 'medium',
    where,
    what,
    why: 'a misspelt name, or a column that was renamed, is out of the rule’s reach and leaves as it is',
    remedy: 'correct the name, or remove the rule',
  };
}

// ---- columns that look sensitive ----

/** Words that a column's name may hold, in several languages; compared with the words of the name, case and accents aside. */
const sensitiveWords: Readonly<Record<string, readonly string[]>> = {
  'national identity number': [
    'ssn',
    'socialsecurity',
    'nationalid',
    'personnummer',
    'nino',
    'dni',
    'nif',
    'nie',
    'cpf',
    'curp',
    'bsn',
    'pesel',
    'aadhaar',
    'codicefiscale',
    'steuerid',
    'steuernummer',
    'sozialversicherungsnummer',
    'taxid',
    'tin',
    'nir',
    'sin',
    'insee',
  ],
  'e-mail address': ['email', 'mail', 'mailaddress', 'emailaddress', 'correo', 'courriel', 'epost'],
  'telephone number': [
    'phone',
    'phonenumber',
    'telephone',
    'tel',
    'mobile',
    'cellphone',
    'msisdn',
    'telefon',
    'telefono',
    'telefonnummer',
    'handy',
    'handynummer',
    'fax',
    'portable',
  ],
  'bank account': [
    'iban',
    'accountnumber',
    'bankaccount',
    'kontonummer',
    'bic',
    'swift',
    'routingnumber',
    'sortcode',
    'cuentabancaria',
    'rib',
  ],
  'payment card': [
    'cardnumber',
    'creditcard',
    'ccnumber',
    'pan',
    'cvv',
    'cvc',
    'kartennummer',
    'kreditkarte',
    'tarjeta',
    'cartebancaire',
    'card',
  ],
  'date of birth': [
    'birth',
    'birthdate',
    'birthday',
    'dob',
    'dateofbirth',
    'geburtsdatum',
    'geburtstag',
    'geboren',
    'naissance',
    'datenaissance',
    'nacimiento',
    'fechanacimiento',
    'nascita',
    'nascimento',
  ],
  pay: [
    'salary',
    'wage',
    'income',
    'compensation',
    'gehalt',
    'lohn',
    'einkommen',
    'salaire',
    'salario',
    'sueldo',
    'stipendio',
  ],
  'passport or licence': [
    'passport',
    'passportnumber',
    'reisepass',
    'passeport',
    'pasaporte',
    'passaporto',
    'driverlicense',
    'driverlicence',
    'driverslicense',
    'fuehrerschein',
    'ausweisnummer',
  ],
  secret: [
    'password',
    'passwd',
    'passwordhash',
    'secret',
    'apikey',
    'token',
    'accesstoken',
    'refreshtoken',
    'privatekey',
    'kennwort',
    'passwort',
    'motdepasse',
    'contrasena',
  ],
  health: ['diagnosis', 'diagnose', 'diagnostic', 'icd10', 'bloodtype', 'blutgruppe', 'disability', 'patientid'],
  'belief or origin': ['religion', 'ethnicity', 'race', 'konfession', 'sexualorientation'],
  'home address': [
    'street',
    'streetaddress',
    'homeaddress',
    'strasse',
    'anschrift',
    'adresse',
    'direccion',
    'indirizzo',
    'postaladdress',
  ],
};

const kindOfWord: ReadonlyMap<string, string> = new Map(
  Object.entries(sensitiveWords).flatMap(([kind, words]) => words.map((word) => [word, kind] as const)),
);
const longestRun = 4;

/** What the name says the column holds; undefined = nothing that is on the list. */
export function sensitiveKind(name: string): string | undefined {
  const words = wordsOf(name);
  for (let length = Math.min(longestRun, words.length); length > 0; length--) {
    for (let from = 0; from + length <= words.length; from++) {
      const kind = kindOfWord.get(words.slice(from, from + length).join(''));
      if (kind !== undefined) return kind;
    }
  }
  return undefined;
}

/** `customerEmail_2` -> customer, email: words by case, digits and signs, without accents. */
function wordsOf(name: string): string[] {
  const plain = name
    .replaceAll('ß', 'ss')
    .replaceAll(/([aou])\u0308|[äöü]/giu, (letter) => `${letter.normalize('NFD').slice(0, 1)}e`)
    .normalize('NFD')
    .replaceAll(/\p{M}/gu, '');
  return plain
    .replaceAll(/(\p{Ll}|\d)(\p{Lu})/gu, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .map((word) => word.replace(/^(\p{L}+)\d$/u, '$1'))
    .filter((word) => word !== '');
}

/** Types that hold no such thing, whatever the name: `email boolean` says that somebody may be written to. */
const harmlessTypes: ReadonlySet<string> = new Set(['bool', 'oid', 'regclass', 'tsvector', 'bit']);
/** Types whose values detectors can look at without calling anything of users'. */
const textTypes: ReadonlySet<string> = new Set(['text', 'varchar', 'bpchar', 'json', 'jsonb', 'citext']);

const detectorKinds: readonly BuiltInDetector[] = ['cloud-key', 'jwt', 'card', 'iban', 'ssn', 'email', 'phone', 'ip'];

export interface SampleLimits {
  /** Of one table. */
  readonly rows: number;
  readonly tables: number;
  /** Share of sampled values (not NULL) with a finding from which on a column is named, 0 … 1. */
  readonly share: number;
}

export interface SensitiveOptions {
  /** What one statement may ask of the target; undefined = names only. */
  readonly query: TargetQuery | undefined;
  readonly limits: SampleLimits;
}

const sampledCharacters = 2_000;

/** @throws what the target throws, except where the gateway's account may not read a table */
export async function sensitiveFindings(
  { connection, catalogue, index }: MaskedCatalogue,
  { query, limits }: SensitiveOptions,
): Promise<Finding[]> {
  const found: Finding[] = [];
  let sampled = 0;
  for (const relation of catalogue.relations.filter(isUsers)) {
    const open = relation.columns.filter((column) => index.rule(relation.oid, column.attnum) === undefined);
    const named = new Set<number>();
    for (const column of open) {
      const kind = harmlessTypes.has(column.typeName) ? undefined : sensitiveKind(column.name);
      if (kind === undefined) continue;
      named.add(column.attnum);
      found.push(
        sensitive('masking-missing-name', connection, relation, column, `its name says that it holds a ${kind}`),
      );
    }
    // Views show what tables hold; partitions are sampled one by one as tables.
    if (query === undefined || relation.kind !== 'table' || sampled >= limits.tables) continue;
    sampled++;
    const rest = open.filter((column) => !named.has(column.attnum) && textTypes.has(column.typeName));
    for (const { column, detector, hits, values } of await sample(query, relation, rest, limits)) {
      const share = Math.round((hits / values) * 100);
      const what = `${share}% of ${values} sampled values look like: ${detector}`;
      found.push(sensitive('masking-missing-values', connection, relation, column, what));
    }
  }
  return found;
}

function isUsers({ schema, kind }: CatalogueRelation): boolean {
  const holdsRows =
    kind === 'table' || kind === 'partitioned-table' || kind === 'materialized-view' || kind === 'foreign-table';
  return holdsRows && schema !== 'pg_catalog' && schema !== 'information_schema';
}

function sensitive(
  check: string,
  connection: string,
  relation: CatalogueRelation,
  column: CatalogueColumn,
  what: string,
): Finding {
  return {
    check,
    severity: check === 'masking-missing-values' ? 'high' : 'medium',
    where: `connection ${connection}: ${relation.schema}.${relation.name}.${column.name}`,
    what: `${what}, and no rule masks it`,
    why: 'its values leave as they are',
    remedy: `add a rule to a masking template: { match: ${JSON.stringify(`${relation.name}.${column.name}`)}, mask: … }; if it is harmless, doctor.ignore names it`,
  };
}

interface Hits {
  readonly column: CatalogueColumn;
  readonly detector: BuiltInDetector;
  readonly hits: number;
  /** That are not NULL. */
  readonly values: number;
}

async function sample(
  query: TargetQuery,
  relation: CatalogueRelation,
  columns: readonly CatalogueColumn[],
  limits: SampleLimits,
): Promise<Hits[]> {
  if (columns.length === 0) return [];
  const list = columns
    .map(({ name }) => `pg_catalog.left(${quoted(name)}::pg_catalog.text, ${sampledCharacters})`)
    .join(', ');
  const { rows } = await query(
    `select ${list} from only ${quoted(relation.schema)}.${quoted(relation.name)} limit ${Math.trunc(limits.rows)}`,
  ).catch((error: unknown) => {
    // The account needs no right to read tables; then names are all there is to go by.
    const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
    if (code === '42501' || code === '42P01' || code === '57014' || code === '55P03') return { rows: [] };
    throw withoutValues(error);
  });
  return columns.flatMap((column, at) => {
    const values = rows
      .map((row) => row[at])
      .filter((value): value is string => typeof value === 'string' && value !== '');
    if (values.length === 0) return [];
    const best = detectorKinds
      .map((detector) => ({ column, detector, hits: count(detector, values), values: values.length }))
      .reduce((a, b) => (b.hits > a.hits ? b : a));
    return best.hits > 0 && best.hits / best.values >= limits.share ? [best] : [];
  });
}

/** An error of the target may quote what it read; its SQLSTATE does not. */
function withoutValues(error: unknown): Error {
  const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'unknown';
  return new Error(`the target refused to be sampled (SQLSTATE ${code})`);
}

const compiled = new Map(
  detectorKinds.map((detect) => [
    detect,
    compileDetectors([{ detect, mask: 'redact', template: 'doctor' }], (value) => Buffer.from(value)),
  ]),
);

function count(detector: BuiltInDetector, values: readonly string[]): number {
  const detectors = compiled.get(detector);
  return values.filter((value) => detectors?.detectText(Buffer.from(value, 'utf8')) !== undefined).length;
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
