/**
 * The policy engine: Cedar policies compiled once, asked many times. It knows entities, actions and policy texts; what a
 * statement means is in `statement.ts`, what a duty means in `duty.ts`. No I/O: policy files come in as texts.
 *
 * Specification: the Cedar policy language (docs.cedarpolicy.com), as `@cedar-policy/cedar-wasm` implements it. One
 * difference: Cedar skips a policy whose evaluation fails. Here a prohibition that fails counts as a prohibition (P7).
 */
import {
  policySetTextToParts,
  policyToJson,
  preparsePolicySet,
  preparseSchema,
  statefulIsAuthorized,
  validate,
  type CedarValueJson,
  type DetailedError,
  type EntityJson,
  type TypeAndId,
} from '@cedar-policy/cedar-wasm/nodejs';
import { CountersignError, errorTable, type ErrorCode } from '../errors.ts';
import { digestOf } from '../lib/canonical-json.ts';
import { builtinPolicies, defaultPolicies } from './builtin.ts';
import { policySchema, type PolicyAction } from './schema.ts';

export interface PolicyFile {
  /** Shown in errors and as the first part of its policies' ids, e.g. `crm.cedar`. */
  readonly name: string;
  readonly text: string;
}

export interface PolicyFiles {
  readonly files: readonly PolicyFile[];
  /** false leaves the default permissions out. */
  readonly defaults?: boolean;
}

export interface PolicyQuestion {
  readonly principal: TypeAndId;
  readonly action: PolicyAction;
  readonly resource: TypeAndId;
  readonly context: Readonly<Record<string, CedarValueJson>>;
  readonly entities: readonly EntityJson[];
}

export interface PolicyAnswer {
  readonly allowed: boolean;
  /** Ids of the deciding policies: the permits of an allow, the forbids of a denial, none where nothing permits. */
  readonly policies: readonly string[];
  /** Annotations of the first forbid that decided. */
  readonly code: ErrorCode | undefined;
  readonly reason: string | undefined;
  readonly hint: string | undefined;
}

export interface CompiledPolicy {
  readonly id: string;
  readonly effect: 'permit' | 'forbid';
  /** Its scope names Action::"unknown" itself; "any action" and "any statement" do not. */
  readonly namesUnknown: boolean;
  readonly text: string;
  /** Where it stands: file and line, as far as that is known. */
  readonly place: string;
  readonly code: ErrorCode | undefined;
  readonly reason: string | undefined;
  readonly hint: string | undefined;
}

/**
 * How JSON.stringify writes half a surrogate pair. The engine throws on such text, and each throw leaves memory behind
 * in the WASM module until it fails for everybody, so it never gets there.
 */
const loneSurrogate = /(?<!\\)(?:\\\\)*\\ud[89a-f]/;

const maxCachedAnswers = 10_000;
const schemaName = 'countersign';
/** File names of the built-in texts; no other file may have them, so no other policy can have their ids. */
const builtinName = 'countersign';
const defaultName = 'countersign-default';

/** Policies that were parsed, validated and handed to the engine. Immutable; `digest` names exactly this set. */
export class PolicySet {
  readonly digest: string;
  readonly policies: ReadonlyMap<string, CompiledPolicy>;
  readonly #answers = new Map<string, PolicyAnswer>();

  constructor(policies: ReadonlyMap<string, CompiledPolicy>) {
    this.policies = policies;
    const texts = Object.fromEntries([...policies].map(([id, policy]) => [id, policy.text]));
    this.digest = digestOf({ schema: policySchema, policies: texts });
    const parsed = preparsePolicySet(this.digest, { staticPolicies: texts });
    if (parsed.type === 'failure')
      throw new Error(`policies that were checked do not parse: ${messages(parsed.errors)}`);
  }

  /** Decides. An answer is kept by everything that it depends on: this set and the whole question. */
  evaluate(question: PolicyQuestion): PolicyAnswer {
    const key = JSON.stringify(question);
    const kept = this.#answers.get(key);
    if (kept !== undefined) {
      // The order of a Map is the order of insertion: what is used moves to the end, the oldest falls out first.
      this.#answers.delete(key);
      this.#answers.set(key, kept);
      return kept;
    }
    const answer = loneSurrogate.test(key)
      ? failed('the policies could not be evaluated: a name in the question is no Unicode text', [])
      : this.#ask(question);
    this.#answers.set(key, answer);
    if (this.#answers.size > maxCachedAnswers) {
      for (const oldest of this.#answers.keys()) {
        this.#answers.delete(oldest);
        break;
      }
    }
    return answer;
  }

  #ask(question: PolicyQuestion): PolicyAnswer {
    const answer = statefulIsAuthorized({
      principal: question.principal,
      action: { type: 'Action', id: question.action },
      resource: question.resource,
      context: question.context,
      entities: [...question.entities],
      preparsedSchemaName: schemaName,
      preparsedPolicySetId: this.digest,
      validateRequest: true,
    });
    if (answer.type === 'failure') return failed(`the policies could not be evaluated: ${messages(answer.errors)}`, []);
    const { decision, diagnostics } = answer.response;
    const broken = diagnostics.errors
      .map((one) => one.policyId)
      .filter((id) => this.policies.get(id)?.effect !== 'permit');
    if (broken.length > 0) return failed('a prohibition could not be evaluated, so it counts', broken);
    const policies = diagnostics.reason.toSorted();
    if (decision === 'allow') {
      if (question.action === 'unknown') return this.#explicitly(policies);
      return { allowed: true, policies, code: undefined, reason: undefined, hint: undefined };
    }
    const first = this.#mostTelling(policies);
    return { allowed: false, policies, code: first?.code, reason: first?.reason, hint: first?.hint };
  }

  /** What is not understood can do anything: a permission for it has to say that it is meant. */
  #explicitly(permits: readonly string[]): PolicyAnswer {
    const policies = permits.filter((id) => this.policies.get(id)?.namesUnknown === true);
    return { allowed: policies.length > 0, policies, code: undefined, reason: undefined, hint: undefined };
  }

  /** A built-in rule explains better than a user's, and a policy with a reason better than one without. */
  #mostTelling(ids: readonly string[]): CompiledPolicy | undefined {
    const found = ids.map((id) => this.policies.get(id)).filter((policy) => policy !== undefined);
    return (
      found.find((policy) => policy.id.startsWith(`${builtinName}/`)) ??
      found.find((policy) => policy.reason !== undefined) ??
      found[0]
    );
  }
}

function failed(reason: string, policies: readonly string[]): PolicyAnswer {
  return {
    allowed: false,
    policies,
    code: 'forbidden',
    reason,
    hint: 'the administrator finds details in the server log',
  };
}

/**
 * Compiles the built-in rules, the default permissions (unless `defaults` is false) and the user's files into one set.
 * @throws CountersignError `configuration_invalid` naming file, line and policy: for text that does not parse, policies
 * that do not fit the schema (a misspelt action, duty or attribute), policies that can never apply, templates, two
 * policies with one id.
 */
export function compilePolicies(options: PolicyFiles): PolicySet {
  const policies = parsePolicies(options);
  const schema = preparseSchema(schemaName, policySchema);
  if (schema.type === 'failure') throw new Error(`the policy schema does not parse: ${messages(schema.errors)}`);
  checkAgainstSchema(policies);
  return new PolicySet(policies);
}

/** The policies of such a set, parsed only. @throws CountersignError `configuration_invalid` for text that does not parse */
export function parsePolicies(options: PolicyFiles): ReadonlyMap<string, CompiledPolicy> {
  const policies = new Map<string, CompiledPolicy>();
  const add = (file: PolicyFile): void => {
    for (const policy of parseFile(file)) {
      if (policies.has(policy.id)) throw invalid(file, `two policies have the id ${JSON.stringify(policy.id)}`);
      policies.set(policy.id, policy);
    }
  };
  add({ name: builtinName, text: builtinPolicies });
  if (options.defaults ?? true) add({ name: defaultName, text: defaultPolicies });
  const names = new Set([builtinName, defaultName]);
  for (const file of options.files) {
    if (names.has(file.name) || file.name.includes('/')) {
      throw invalid(file, 'the name of a policy file is unique, without folders, and not one of the built-in names');
    }
    names.add(file.name);
    add(file);
  }
  return policies;
}

function parseFile(file: PolicyFile): CompiledPolicy[] {
  const parts = policySetTextToParts(file.text);
  if (parts.type === 'failure') {
    const first = parts.errors[0];
    const at = first?.sourceLocations?.[0];
    const where = at === undefined ? '' : describePlace(file.text, at.start);
    const expected = at?.label ?? undefined;
    throw invalid(file, `${where}${messages(parts.errors)}${expected === undefined ? '' : ` (${expected})`}`);
  }
  if (parts.policy_templates.length > 0)
    throw invalid(file, 'policy templates are not supported; write the policies out');
  // The parts come sorted by their working names policy0, policy1, policy10, policy2 …; this is their place in the file.
  const places = parts.policies.map((_, index) => index).sort((a, b) => (`policy${a}` < `policy${b}` ? -1 : 1));
  return parts.policies.map((text, index): CompiledPolicy => {
    const json = policyToJson(text);
    if (json.type === 'failure') throw invalid(file, messages(json.errors));
    const { effect, action, annotations } = json.json;
    const id = annotations?.['id'] ?? `#${(places[index] ?? index) + 1}`;
    const code = annotations?.['code'];
    if (code !== undefined && !Object.hasOwn(errorTable, code)) {
      throw invalid(file, `policy ${id}: @code(${JSON.stringify(code)}) is not an error code`);
    }
    return {
      id: `${file.name}/${id}`,
      effect,
      namesUnknown: JSON.stringify(action).includes('"id":"unknown"'),
      text,
      place: placeIn(file, text),
      code: code as ErrorCode | undefined,
      reason: annotations?.['reason'],
      hint: annotations?.['hint'],
    };
  });
}

function checkAgainstSchema(policies: ReadonlyMap<string, CompiledPolicy>): void {
  const texts = Object.fromEntries([...policies].map(([id, policy]) => [id, policy.text]));
  const answer = validate({ schema: policySchema, policies: { staticPolicies: texts } });
  if (answer.type === 'failure')
    throw new CountersignError('configuration_invalid', `policies: ${messages(answer.errors)}`);
  // A warning says that a policy can never apply (or looks like another one); a prohibition that never applies is a hole.
  const all = [...answer.validationErrors, ...answer.validationWarnings];
  if (all.length === 0) return;
  // One mistake shows once for each action that it touches; the first of each policy says enough.
  const shown = new Map<string, string>();
  for (const { policyId, error } of all) {
    const help = error.help === null ? '' : ` (${error.help})`;
    const place = policies.get(policyId)?.place ?? '';
    if (!shown.has(policyId)) shown.set(policyId, `${place}: ${error.message}${help}`);
  }
  throw new CountersignError(
    'configuration_invalid',
    `policies do not fit the schema: ${[...shown.values()].join('; ')}`,
    {
      hint: 'docs/policies.md lists the entities, actions and attributes that a policy may name',
    },
  );
}

function invalid(file: PolicyFile, message: string): CountersignError {
  return new CountersignError('configuration_invalid', `policy file ${file.name}: ${message}`);
}

/** Cedar counts bytes of UTF-8; people count lines and know policies by their id. */
function describePlace(text: string, offset: number): string {
  const before = Buffer.from(text, 'utf8').subarray(0, offset).toString('utf8');
  const line = before.split('\n').length;
  const id = [...before.matchAll(/@id\s*\(\s*"([^"]*)"\s*\)/g)].at(-1)?.[1];
  return id === undefined ? `line ${line}: ` : `line ${line}, policy ${id}: `;
}

function placeIn({ name, text }: PolicyFile, policy: string): string {
  const at = text.indexOf(policy);
  return at < 0 ? name : `${name}:${text.slice(0, at).split('\n').length}`;
}

function messages(errors: readonly DetailedError[]): string {
  return errors.map((error) => error.message).join('; ');
}
