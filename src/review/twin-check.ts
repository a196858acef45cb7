/** One database under two names, of which one is masked less: whoever may use both sees it as the lesser shows it. Pure. */
import { appliesTo, type MaskingTemplate } from '../masking/policy.ts';
import type { Finding } from './finding.ts';

export interface Twin {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** What tells one database from every other. */
  readonly database: string;
}

export function twinFindings(connections: readonly Twin[], masking: readonly MaskingTemplate[]): Finding[] {
  const templatesOf = ({ labels }: Twin) => masking.filter((template) => appliesTo(template, labels));
  return connections.flatMap((one) => {
    const own = new Set(templatesOf(one));
    return connections
      .filter((other) => other.name !== one.name && other.database === one.database)
      .flatMap((other): Finding[] => {
        const missing = templatesOf(other).filter((template) => !own.has(template));
        if (missing.length === 0) return [];
        return [
          {
            check: 'masking-twin',
            severity: 'high',
            where: `connection ${one.name}`,
            what: `it is the same database as ${other.name}, and is not masked by ${missing.map(({ name }) => name).join(', ')}`,
            why: `what is masked on ${other.name} comes out raw here`,
            remedy: 'give both connections labels that bring the same masking',
          },
        ];
      });
  });
}
