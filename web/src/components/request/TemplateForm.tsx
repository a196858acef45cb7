/** The held statement is a step of a loop: its approver may let all of it run with one approval, within bounds. */
import { Button, Checkbox, Collapse, NumberInput, Stack, Text, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useNavigate } from 'react-router';
import { approveTemplate, type RequestDetail, type TemplateOffer } from '../../lib/requests.ts';
import { Code } from '../Code.tsx';
import { Failure } from '../Failure.tsx';

export interface TemplateFormProps {
  readonly request: RequestDetail;
  readonly offer: TemplateOffer;
  readonly comment: string;
}

const integer = /^-?\d{1,18}$/;

export function TemplateForm({ request, offer, comment }: TemplateFormProps) {
  const [isOpen, { toggle }] = useDisclosure(false);
  const [untilKey, setUntilKey] = useState('');
  const [rows, setRows] = useState<number | undefined>();
  const [uses, setUses] = useState<number | undefined>();
  const [anySession, setAnySession] = useState(false);
  const client = useQueryClient();
  const navigate = useNavigate();
  const { mutate, isPending, error } = useMutation({
    mutationFn: () =>
      approveTemplate(request.id, comment, {
        untilKey,
        rows: rows ?? 0,
        ...(uses === undefined ? {} : { uses }),
        ...(anySession ? { anySession } : {}),
      }),
    onSuccess: (template) => navigate(`/requests/${encodeURIComponent(template.id)}`),
    onSettled: () => client.invalidateQueries({ queryKey: ['requests'] }),
  });
  const asNumber = (value: string | number) => (typeof value === 'number' ? value : undefined);
  const isReady = integer.test(untilKey) && rows !== undefined && rows > 0;
  return (
    <div>
      <Button variant="subtle" size="compact-sm" onClick={toggle} aria-expanded={isOpen}>
        Approve the loop that it begins
      </Button>
      <Collapse expanded={isOpen}>
        <Stack gap="xs" pt="xs">
          <Text size="sm">
            The same statement, while only the range of {offer.key} moves on from {offer.low}. It ends at the first of
            these bounds.
          </Text>
          <Code text={offer.text} language="sql" label="The template" lines={10} />
          <TextInput
            label={`Up to ${offer.key}`}
            inputMode="numeric"
            value={untilKey}
            error={untilKey === '' || integer.test(untilKey) ? undefined : 'A whole number'}
            onChange={(event) => setUntilKey(event.currentTarget.value.trim())}
          />
          <NumberInput
            label="Rows in all, at most"
            min={1}
            allowDecimal={false}
            onChange={(value) => setRows(asNumber(value))}
          />
          <NumberInput
            label="Statements, at most"
            description="Left empty: as many as the gateway allows"
            min={1}
            allowDecimal={false}
            onChange={(value) => setUses(asNumber(value))}
          />
          <Checkbox
            label="Also in later sessions of the same person"
            checked={anySession}
            onChange={(event) => setAnySession(event.currentTarget.checked)}
          />
          <Button loading={isPending} disabled={!isReady} onClick={() => mutate()}>
            Approve the loop
          </Button>
          {!isReady && (
            <Text size="xs" c="dimmed">
              It needs the last key, and how many rows at most.
            </Text>
          )}
          {error !== null && <Failure error={error} />}
        </Stack>
      </Collapse>
    </div>
  );
}
