/** Every field that an approval is bound to, and the proof that these are they: the hash, computed in this browser. */
import { Alert, Collapse, Button, CopyButton, Group, Stack, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconAlertTriangle, IconShieldCheck } from '@tabler/icons-react';
import { digestFields } from '../../lib/digest-fields.ts';
import type { DigestCheck } from '../../lib/digest.ts';
import type { DigestInput, RequestDetail } from '../../lib/requests.ts';
import { Plain } from '../Plain.tsx';
import { Section } from '../Section.tsx';

interface Parts {
  readonly request: RequestDetail;
  readonly input: DigestInput;
  readonly check: DigestCheck;
}

export function DigestFields({ request, input, check }: Parts) {
  const [isRawOpen, raw] = useDisclosure(false);
  return (
    <Section
      title="What an approval is bound to"
      hint="If any of this is different when it is used, the approval is void."
    >
      <Verdict request={request} check={check} />
      <dl className="digest-fields">
        {digestFields(input).map(({ group, fields }) => (
          <div key={group} className="digest-group">
            <Text component="dt" fw={600} size="sm">
              {group}
            </Text>
            {fields.map(({ name, value }) => (
              <dd key={name} className="digest-field" data-single={name === ''}>
                {name !== '' && (
                  <Text span size="sm" c="dimmed" className="break">
                    <Plain text={name} />
                  </Text>
                )}
                <span className="mono break digest-value">
                  <Plain text={value} />
                </span>
              </dd>
            ))}
          </div>
        ))}
      </dl>
      <Group gap="xs">
        <Button size="xs" variant="default" onClick={raw.toggle} aria-expanded={isRawOpen}>
          {isRawOpen ? 'Hide the canonical JSON' : 'Show the canonical JSON'}
        </Button>
        <CopyButton value={request.digestInputJson}>
          {({ copied, copy }) => (
            <Button size="xs" variant="default" onClick={copy}>
              {copied ? 'Copied' : 'Copy it'}
            </Button>
          )}
        </CopyButton>
      </Group>
      <Collapse expanded={isRawOpen}>
        {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls */}
        <pre className="code code-wrap" tabIndex={0} role="region" aria-label="Canonical JSON">
          <Plain text={request.digestInputJson} />
        </pre>
        <Text size="sm" c="dimmed">
          RFC 8785, as it is digested: the same as{' '}
          <Text span className="mono">
            countersign requests show {request.id} --digest
          </Text>
        </Text>
      </Collapse>
    </Section>
  );
}

function Verdict({ request, check }: Pick<Parts, 'request' | 'check'>) {
  if (check.verdict === undefined) return <Text size="sm">Computing the digest …</Text>;
  const hash = (
    <Text span className="mono break" size="xs">
      sha256:{request.digest}
    </Text>
  );
  if (check.verdict === 'equal') {
    return (
      <Alert
        color="seal"
        icon={<IconShieldCheck aria-hidden />}
        title="Computed in this browser: the digest is that of the request"
      >
        {hash}
      </Alert>
    );
  }
  return (
    <Alert
      color="red"
      icon={<IconAlertTriangle aria-hidden />}
      title={`Do not approve: ${check.problem ?? ''}`}
      role="alert"
    >
      <Stack gap={0}>
        {hash}
        {check.computed !== undefined && (
          <Text span className="mono break" size="xs">
            computed: {check.computed}
          </Text>
        )}
      </Stack>
    </Alert>
  );
}
