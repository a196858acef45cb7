import { CountersignError } from '../errors.ts';
import type { Admissions } from '../gate/admission.ts';

/**
 * Settings that a client asks for in its start-up packet, by name or as `-c name=value` in `options`. They go through
 * the same rules as SET: a search path or a role hidden here is as dangerous as one in a statement.
 * @returns what is sent upstream, and the client's application name
 * @throws CountersignError `startup_setting_refused` naming the setting and the rule
 */
export function startupSettings(
  parameters: ReadonlyMap<string, string>,
  admissions: Pick<Admissions, 'settingDecision'>,
): { upstream: Record<string, string>; application: string } {
  const upstream: Record<string, string> = {};
  let application = '';
  const wanted: [string, string][] = [];
  for (const [name, value] of parameters) {
    if (name === 'user' || name === 'database' || name.startsWith('_pq_.')) continue;
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
    upstream[lower] = value;
  }
  return { upstream, application };
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
