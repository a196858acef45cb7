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
export function useLive(mayListen: boolean): void {
  const client = useQueryClient();
  useEffect(() => {
    if (!mayListen) return undefined;
    const heard = new Set<Topic>();
    let source: EventSource | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let wasAway = false;
    const flush = () => {
      timer = undefined;
      for (const topic of heard) void client.invalidateQueries({ queryKey: [topic] });
      heard.clear();
    };
    const hear = (topic: Topic) => {
      heard.add(topic);
      timer ??= setTimeout(flush, gatherMs);
    };
    const open = () => {
      const opened = new EventSource('/api/v1/events');
      source = opened;
      opened.addEventListener('open', () => {
        if (wasAway) for (const topic of topics) hear(topic);
        wasAway = false;
      });
      opened.addEventListener('error', () => {
        wasAway = true;
      });
      opened.addEventListener('message', (event: MessageEvent<string>) => {
        const { topic } = JSON.parse(event.data) as { topic: Topic };
        hear(topic);
      });
    };
    // A browser has few connections to one host, and many tabs: one that nobody looks at gives its own back.
    const onVisibility = () => {
      if (document.hidden) {
        source?.close();
        source = undefined;
        wasAway = true;
      } else if (source === undefined) open();
    };
    onVisibility();
    document.addEventListener('visibilitychange', onVisibility);
    return () => {
      document.removeEventListener('visibilitychange', onVisibility);
      source?.close();
      clearTimeout(timer);
    };
  }, [client, mayListen]);
}
