/** A button that says why it cannot be pressed, to the eye and to a screen reader. It stays focusable, so that the reason can be found. */
import { Button, Tooltip, type ButtonProps } from '@mantine/core';
import type { ReactNode } from 'react';

export interface ActionButtonProps extends Omit<ButtonProps, 'disabled'> {
  /** Why it cannot be pressed; undefined = it can. */
  readonly why: string | undefined;
  readonly onClick: () => void;
  readonly children: ReactNode;
}

export function ActionButton({ why, onClick, children, ...rest }: ActionButtonProps) {
  const isOff = why !== undefined;
  return (
    <Tooltip label={why} disabled={!isOff} multiline maw={320} events={{ hover: true, focus: true, touch: true }}>
      <Button
        {...rest}
        aria-disabled={isOff}
        aria-description={why}
        {...(isOff ? { 'data-disabled': true } : {})}
        onClick={(event) => {
          if (isOff) event.preventDefault();
          else onClick();
        }}
      >
        {children}
      </Button>
    </Tooltip>
  );
}
