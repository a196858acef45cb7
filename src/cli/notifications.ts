import type { Command } from 'commander';
import colors from 'picocolors';
import { show, table } from './output.ts';
import type { CommandContext } from './context.ts';

interface ReceiverView {
  readonly name: string;
  readonly kind: string;
  readonly events: readonly string[] | 'all';
  readonly waiting: number;
  readonly sent: number;
  readonly failed: number;
  readonly lastFailure?: string;
}

/** notifications list, test */
export function notificationCommands(program: Command, context: CommandContext): void {
  const notifications = program.command('notifications').description('receivers of messages (administrators)');

  notifications
    .command('list', { isDefault: true })
    .description('receivers, and how they do')
    .action(async () => {
      const answer = await context.client().get<{ receivers: ReceiverView[] }>('/notifications');
      show({ json: context.json() }, answer, () =>
        table(
          ['RECEIVER', 'KIND', 'EVENTS', 'WAITING', 'SENT', 'FAILED', 'LAST FAILURE'],
          answer.receivers.map((one) => [
            one.name,
            one.kind,
            one.events === 'all' ? 'all' : one.events.join(', '),
            one.waiting,
            one.sent,
            one.failed,
            one.lastFailure,
          ]),
        ),
      );
    });

  notifications
    .command('test')
    .description('send a test message now, and say how it went')
    .argument('<name>', 'name of the receiver')
    .action(async (name: string) => {
      const answer = await context.client().post<object>(`/notifications/${encodeURIComponent(name)}/test`);
      show({ json: context.json() }, answer, () => `${colors.green('sent')} a test message to ${name}`);
    });
}
