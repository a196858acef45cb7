/** What changes in the rules, and why it needs a second person: what lets somebody do or see more. */
import { List, Text } from '@mantine/core';
import type { DigestInput, Evidence } from '../../lib/requests.ts';
import { Plain } from '../Plain.tsx';
import { Section } from '../Section.tsx';
import { State } from '../State.tsx';

const words = { wider: 'wider', narrower: 'narrower', same: 'as wide' } as const;
const tones = { wider: 'failed', narrower: 'completed', same: 'planned' } as const;

export function PolicyChanges({ input, evidence }: { readonly input: DigestInput; readonly evidence: Evidence }) {
  const { changes } = input;
  if (changes === undefined) return null;
  return (
    <Section
      title="What changes in the rules"
      hint="Wider is whatever lets somebody do or see more, or may. Signed, together with all of the new rules."
    >
      <List listStyleType="none" spacing="sm" size="sm">
        {changes.map((change, index) => (
          <List.Item key={index}>
            <State state={tones[change.effect]} label={words[change.effect]} />{' '}
            <Text span size="sm" c="dimmed">
              {change.part}
            </Text>{' '}
            <Plain text={change.what} />
            {change.why !== undefined && (
              <Text size="sm" c="dimmed" className="break">
                <Plain text={change.why} />
              </Text>
            )}
          </List.Item>
        ))}
      </List>
      {(evidence.warnings ?? []).map((warning, index) => (
        <Text key={index} size="sm" className="soon">
          <Plain text={typeof warning === 'string' ? warning : JSON.stringify(warning)} />
        </Text>
      ))}
    </Section>
  );
}
