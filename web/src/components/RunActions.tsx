/** What can be done to a run, and why something cannot. The server decides; this only says it before it is tried. */
import { useDisclosure } from '@mantine/hooks';
import { IconPlayerPause, IconPlayerPlay, IconPlayerStop, IconReload } from '@tabler/icons-react';
import { useAct } from '../lib/act.ts';
import { api } from '../lib/api.ts';
import { plural } from '../lib/format.ts';
import { isOpen, type RunProgress } from '../lib/run.ts';
import { useWho, type Who } from '../lib/who.ts';
import { ActionButton } from './ActionButton.tsx';
import { Confirm } from './Confirm.tsx';

type Action = 'pause' | 'resume' | 'kill' | 'retry';

const said: Readonly<Record<Action, string>> = {
  pause: 'Paused. What is being read goes on to its end.',
  resume: 'Going on.',
  kill: 'The run has ended.',
  retry: 'Failed chunks are planned again. The runner goes on with: countersign run JOB --resume RUN',
};

function whyNot(action: Action, run: RunProgress, who: Who): string | undefined {
  const duties = who.duties[run.connection] ?? [];
  const mayStop = duties.includes('executor') || duties.includes('approver');
  if (action === 'retry' || action === 'resume') {
    if (run.executorHuman !== who.human) return `Only its executor, ${run.executorId}, goes on with it.`;
    if (!duties.includes('executor')) return `This needs the duty executor on ${run.connection}.`;
  }
  if (action === 'retry') {
    if (run.state === 'completed' || run.state === 'killed') return `The run is ${run.state}.`;
    return run.chunks.failed === 0 ? 'No chunk has failed.' : undefined;
  }
  if (!isOpen(run.state)) return `The run is ${run.state}.`;
  return mayStop ? undefined : `This needs the duty executor or approver on ${run.connection}.`;
}

export function RunActions({ run }: { readonly run: RunProgress }) {
  const who = useWho();
  const [isKilling, kill] = useDisclosure(false);
  const act = useAct<Action, unknown>({
    run: (action) => api(`/runs/${encodeURIComponent(run.runId)}/${action}`, { method: 'POST', body: {} }),
    changes: ['runs'],
    said: (_answer, action) => said[action],
  });
  const why = (action: Action) => whyNot(action, run, who);
  const flow = run.state === 'paused' ? 'resume' : 'pause';
  return (
    <>
      <ActionButton
        variant="default"
        size="sm"
        why={why(flow)}
        onClick={() => act.mutate(flow)}
        leftSection={
          flow === 'pause' ? <IconPlayerPause size={16} aria-hidden /> : <IconPlayerPlay size={16} aria-hidden />
        }
      >
        {flow === 'pause' ? 'Pause' : 'Resume'}
      </ActionButton>
      <ActionButton
        variant="default"
        size="sm"
        why={why('retry')}
        onClick={() => act.mutate('retry')}
        leftSection={<IconReload size={16} aria-hidden />}
      >
        Retry failed
      </ActionButton>
      <ActionButton
        variant="default"
        size="sm"
        why={why('kill')}
        onClick={kill.open}
        leftSection={<IconPlayerStop size={16} aria-hidden />}
      >
        Kill
      </ActionButton>
      <Confirm
        isOpen={isKilling}
        close={kill.close}
        title="End this run?"
        action="End it"
        onConfirm={() => act.mutate('kill')}
      >
        Its sessions end at once, and {plural(run.chunkCount - run.chunks.sealed, 'chunk')} will never be read under
        this approval: another run needs another one.
      </Confirm>
    </>
  );
}
