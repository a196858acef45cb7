/** An id or a digest: shown short, copied whole. */
import { CopyButton, Tooltip, UnstyledButton } from '@mantine/core';
import './Copyable.css';

export function Copyable({ text, shown = text }: { readonly text: string; readonly shown?: string }) {
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? 'Copied' : `Copy ${text}`} multiline maw={420}>
          <UnstyledButton className="mono break copyable" onClick={copy}>
            <span aria-hidden>{shown}</span>
            <span className="only-read">Copy {text}</span>
          </UnstyledButton>
        </Tooltip>
      )}
    </CopyButton>
  );
}

export const shortDigest = (digest: string): string => (digest.length > 20 ? `${digest.slice(0, 12)}…` : digest);
