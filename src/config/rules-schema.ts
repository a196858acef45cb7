/**
 * The rules of a gateway: who has which duty, what is masked, how many approvals something needs, and which connections
 * there are beside those of the configuration file. They stand in that file (but for connections), and in the files that
 * `countersign apply` puts into force.
 */
import { z } from 'zod';
import { addedConnection } from './connection-schema.ts';
import { labels, positive } from './values.ts';

const duty = z.enum(['designer', 'approver', 'executor', 'auditor', 'admin']);

export const binding = z.strictObject({ group: z.string().min(1), duties: z.array(duty).min(1), labels });

type BindingConfiguration = z.infer<typeof binding>;

export const defaultBindings: BindingConfiguration[] = [
  { group: 'chunk-designers', duties: ['designer'], labels: {} },
  { group: 'chunk-executors', duties: ['approver', 'executor'], labels: {} },
  { group: 'auditors', duties: ['auditor'], labels: {} },
];

const maskName = z.enum(['redact', 'null', 'last4', 'hash', 'email-domain', 'year']);
/** One mask, as rules write it. */
export const mask = z.union([
  maskName,
  z.strictObject({ kind: z.literal('partial'), keepStart: z.int().min(0), keepEnd: z.int().min(0) }),
  z.strictObject({ kind: z.literal('truncate-date'), to: z.enum(['year', 'month']) }),
  z.strictObject({ kind: z.literal('round'), to: z.number().positive() }),
]);

/** What a statement may ask about a masked column that it filters by; `perHour`: constants that it is compared with. */
const predicates = z.union([
  z.enum(['deny', 'is-null']),
  z.strictObject({ kind: z.literal('equality'), perHour: z.int().min(1).max(1_000_000) }),
]);

const detectorName = z.enum(['card', 'ssn', 'iban', 'email', 'phone', 'ip', 'jwt', 'cloud-key']);

export const maskingTemplate = z.strictObject({
  name: z.string().min(1),
  appliesTo: labels,
  columns: z.array(z.strictObject({ match: z.string().min(1), mask, predicates: predicates.optional() })).default([]),
  detectors: z
    .array(
      z.strictObject({
        detect: z.union([detectorName, z.strictObject({ name: z.string().min(1), pattern: z.string().min(1) })]),
        mask: z.enum(['redact', 'last4', 'hash']).default('redact'),
      }),
    )
    .default([]),
});

const clockTime = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'a time of day is HH:MM');
const groups = z.array(z.string().min(1)).min(1);

const workflowStep = z.strictObject({
  /** Distinct humans; default: one, or as many as `allOf` has groups. */
  count: positive.optional(),
  /** One human of each of these groups. */
  allOf: groups.optional(),
  /** Only members of these groups take the places that `allOf` leaves. */
  groups: groups.optional(),
  timeLimitMs: positive.optional(),
  /** decide: these groups may decide after so long, too; false: they are only told. */
  escalation: z.strictObject({ afterMs: positive, groups, decide: z.boolean().default(true) }).optional(),
});

const quietHours = z.strictObject({
  timeZone: z.string().refine(isTimeZone, 'a time zone is a name of the IANA database, e.g. Europe/Berlin'),
  from: clockTime,
  to: clockTime,
  days: z
    .array(z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']))
    .min(1)
    .optional(),
});

const statementClass = z.enum(['read', 'write', 'ddl', 'copy-out', 'copy-in', 'session', 'setting', 'show', 'explain']);
export const workflow = z.strictObject({
  name: z.string().min(1).optional(),
  match: z.prefault(
    z.strictObject({
      labels,
      kinds: z
        .array(z.enum(['job', 'statement', 'session', 'policy']))
        .min(1)
        .optional(),
      classes: z.array(statementClass).min(1).optional(),
      /** `table` or `schema.table`, with `*`. */
      relations: z.array(z.string().min(1)).min(1).optional(),
      /** Masked columns are in reach, or not. */
      sensitive: z.boolean().optional(),
      /** Estimates; what is not known counts as the largest. */
      minRows: positive.optional(),
      minBytes: positive.optional(),
    }),
    {},
  ),
  approvals: z.prefault(
    z
      .strictObject({
        count: positive.default(1),
        groups: groups.optional(),
        steps: z.array(workflowStep).min(1).max(20).optional(),
      })
      .refine(
        ({ count, groups, steps }) => steps === undefined || (count === 1 && groups === undefined),
        'approvals have steps, or count and groups, not both',
      ),
    {},
  ),
  /** No approval counts inside them; the request waits. */
  quietHours: quietHours.optional(),
  /** How long a request waits for its decision. */
  expiresMs: positive.default(24 * 60 * 60_000),
  /** How long an approved grant may be used. */
  grantExpiresMs: positive.default(24 * 60 * 60_000),
  /** Author, approver and executor are all distinct. */
  strict: z.boolean().default(false),
  /** The requester may ask for fewer approvals before, and more humans review afterwards. */
  breakGlass: z
    .strictObject({
      approvals: positive.default(1),
      reviewers: positive.default(2),
      reviewWithinMs: positive.default(24 * 60 * 60_000),
      duringQuietHours: z.boolean().default(false),
    })
    .optional(),
});

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en-GB', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

export const policyFile = z.strictObject({ name: z.string().min(1), text: z.string() });

/**
 * The rules: what `countersign apply` changes in a running gateway. The configuration file gives the first ones.
 * Here each part is optional, as in the files that are applied; `rules.ts` puts them together.
 */
export const rulesSchema = z.strictObject({
  connections: z.array(addedConnection).optional(),
  bindings: z.array(binding).optional(),
  masking: z.array(maskingTemplate).optional(),
  workflows: z.array(workflow).optional(),
  policies: z.strictObject({ defaults: z.boolean() }).optional(),
});

/** A whole set of rules, as the store keeps it. */
export const ruleSetSchema = z.strictObject({
  /** Those beside the configuration file's own. Sets of rules of before there were any have none. */
  connections: z.array(addedConnection).default([]),
  bindings: z.array(binding),
  masking: z.array(maskingTemplate),
  workflows: z.array(workflow),
  policies: z.strictObject({ defaults: z.boolean(), files: z.array(policyFile) }),
});

export type RuleSet = z.infer<typeof ruleSetSchema>;
