/** Doing something: what the server says of it is shown, and what it changed is asked again. */
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { ApiError } from './api.ts';

export interface Act<Input, Answer> {
  readonly run: (input: Input) => Promise<Answer>;
  /** Topics whose questions are asked again. */
  readonly changes: readonly string[];
  /** What to say when it is done; undefined = nothing. */
  readonly said?: (answer: Answer, input: Input) => string | undefined;
  readonly after?: (answer: Answer, input: Input) => void;
}

export function useAct<Input, Answer>({ run, changes, said, after }: Act<Input, Answer>) {
  const client = useQueryClient();
  return useMutation<Answer, Error, Input>({
    mutationFn: run,
    onSuccess: (answer, input) => {
      for (const topic of changes) void client.invalidateQueries({ queryKey: [topic] });
      const message = said?.(answer, input);
      if (message !== undefined) notifications.show({ message });
      after?.(answer, input);
    },
    onError: (error) => {
      const hint = error instanceof ApiError ? error.hint : undefined;
      notifications.show({ color: 'red', title: error.message, message: hint ?? '', autoClose: 10_000 });
    },
  });
}
