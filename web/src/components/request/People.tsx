/** Who is involved, and therefore may not decide; where you stand. */
import { List, Text } from '@mantine/core';
import type { RequestDetail } from '../../lib/requests.ts';
import { useWho } from '../../lib/who.ts';
import { Plain } from '../Plain.tsx';
import { Section } from '../Section.tsx';

export function People({ request }: { readonly request: RequestDetail }) {
  const who = useWho();
  const roles = new Map<string, Set<string>>();
  const note = (human: string, role: string) => {
    const known = roles.get(human) ?? new Set<string>();
    roles.set(human, known.add(role));
  };
  note(request.requesterHuman, 'asked');
  for (const { human, name, role } of request.authors)
    note(human === '' ? name : human, role === 'requester' ? 'asked' : role);
  return (
    <Section
      title="Who may not decide"
      hint="Who defines or asks for something never lets it run, by no account of theirs."
    >
      <List spacing={4} size="sm">
        {[...roles].map(([human, said]) => (
          <List.Item key={human}>
            <b>
              <Plain text={human} />
            </b>
            : {[...said].join(', ')}
            {human === who.human && ' (this is you)'}
          </List.Item>
        ))}
      </List>
      <Text size="sm" c="dimmed">
        Anybody else may who holds the duty approver on {request.connection || 'every connection that it touches'}
        {request.approvalsNeeded > 1 && `; ${request.approvalsNeeded} different people have to`}.
      </Text>
    </Section>
  );
}
