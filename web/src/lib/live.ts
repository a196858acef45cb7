/**
 * What changed, as the server tells it (server-sent events): a topic and an id, no data. The page asks again for what
 * it shows of that topic. The browser reconnects by itself; after a gap everything is asked again.
 */
import { useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';

export type Topic = 'requests' | 'runs' | 'sessions';

const topics: readonly Topic[] = ['requests', 'runs', 'sessions'];
/** A burst of changes is one question. */
const gatherMs = 250;

/** Query keys begin with their topic: `['requests', 'list', …]`, `['requests', id]`. */
export function useLive(): void {
  const client = useQueryClient();
  useEffect(() => {
    const source = new EventSource('/api/v1/events');
    const heard = new Set<Topic>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let wasLost = false;
    const flush = () => {
      timer = undefined;
      for (const topic of heard) void client.invalidateQueries({ queryKey: [topic] });
      heard.clear();
    };
    const hear = (topic: Topic) => {
      heard.add(topic);
      timer ??= setTimeout(flush, gatherMs);
    };
    source.addEventListener('open', () => {
      if (wasLost) for (const topic of topics) hear(topic);
      wasLost = false;
    });
    source.addEventListener('error', () => {
      wasLost = true;
    });
    source.addEventListener('message', (event: MessageEvent<string>) => {
      const { topic } = JSON.parse(event.data) as { topic: Topic };
      hear(topic);
    });
    return () => {
      source.close();
      clearTimeout(timer);
    };
  }, [client]);
}
