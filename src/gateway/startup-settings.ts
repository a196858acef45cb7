import { CountersignError } from '../errors.ts';
import type { Admissions } from '../gate/admission.ts';

/** Start-up parameters that are no settings; the listener looks at them before. */
const ofTheConnection: ReadonlySet<string> = new Set(['user', 'database', 'replication']);

/**
 * Settings that a client asks for in its start-up packet, by name or as `-c name=value` in `options`. They go through
 * the same rules as SET: a search path or a role hidden here is as dangerous as one in a statement.
 * @param statementTimeoutMs the longest that one statement may run; 0 = no limit of ours. A client may lower it.
 * @returns what is sent upstream, and the client's application name
 * @throws CountersignError `startup_setting_refused` naming the setting and the rule
 */
export function startupSettings(
  parameters: ReadonlyMap<string, string>,
  admissions: Pick<Admissions, 'settingDecision'>,
  statementTimeoutMs: number,
): { upstream: Record<string, string>; application: string } {
  const upstream: Record<string, string> = {};
  if (statementTimeoutMs > 0) upstream['statement_timeout'] = String(statementTimeoutMs);
  let application = '';
  const wanted: [string, string][] = [];
  for (const [name, value] of parameters) {
    if (ofTheConnection.has(name) || name.startsWith('_pq_.')) continue;
    if (name === 'options') wanted.push(...optionSettings(value));
    else wanted.push([name, value]);
  }
  for (const [name, value] of wanted) {
    const lower = name.toLowerCase();
    if (lower === 'application_name') {
      application = value;
      continue;
    }
    if (lower === 'client_encoding') {
      if (/^(utf-?8|unicode)$/i.test(value.replaceAll("'", ''))) continue;
      throw refused(name, value, ['countersign/client-encoding'], 'the gateway reads and masks UTF-8 only');
    }
    const decision = admissions.settingDecision(lower, value);
    if (decision.verdict !== 'allow') throw refused(name, value, decision.policies, decision.reason);
    if (lower === 'statement_timeout' && statementTimeoutMs > 0 && !isWithin(value, statementTimeoutMs)) {
      const reason = `a statement may run for ${statementTimeoutMs} ms here; less can be asked for, not more`;
      throw refused(name, value, ['countersign/statement-timeout'], reason);
    }
    upstream[lower] = value;
  }
  return { upstream, application };
}

const millisecondsOf: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Whether a time as PostgreSQL writes it (`5000`, `5s`, `1.5 min`) is some time, and within the limit. 0 is none at all. */
function isWithin(value: string, limitMs: number): boolean {
  const [, amount = '', unit = ''] = /^\s*(\d{1,15}(?:\.\d{1,15})?)\s*([a-z]*)\s*$/.exec(value) ?? [];
  const ms = Number(amount) * (millisecondsOf[unit === '' ? 'ms' : unit] ?? Number.NaN);
  // What PostgreSQL would round to 0 is no limit.
  return amount !== '' && ms >= 1 && ms <= limitMs;
}

/** `-c name=value`, `-cname=value` and `--name=value`; a backslash escapes the next character (PostgreSQL, pg_split_opts). */
function optionSettings(options: string): [string, string][] {
  const words: string[] = [];
  for (const match of options.matchAll(/(?:\\[\s\S]|[^\s\\])+/g)) words.push(match[0].replaceAll(/\\([\s\S])/g, '$1'));
  const settings: [string, string][] = [];
  for (let index = 0; index < words.length; index++) {
    let word = words[index] ?? '';
    if (word === '-c') word = words[++index] ?? '';
    else if (word.startsWith('-c')) word = word.slice(2);
    else if (word.startsWith('--')) word = word.slice(2).replaceAll('-', '_');
    else throw refused('options', word, ['countersign/options'], 'only -c name=value is understood');
    const equals = word.indexOf('=');
    if (equals <= 0) throw refused('options', word, ['countersign/options'], 'only -c name=value is understood');
    settings.push([word.slice(0, equals), word.slice(equals + 1)]);
  }
  return settings;
}

function refused(name: string, value: string, policies: readonly string[], reason: string): CountersignError {
  return new CountersignError(
    'startup_setting_refused',
    `countersign: the start-up setting ${name}=${JSON.stringify(value)} is refused: ${reason}`,
    {
      detail: `rule: ${policies.join(', ') || 'no rule permits it'}`,
    },
  );
}
