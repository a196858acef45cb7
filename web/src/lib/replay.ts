/** A recording read as a stream of lines. */
import { send } from './api.ts';
import { Collector, type Recording, type ReplayEvent } from './recording.ts';

/** @param onProgress with the number of lines read so far, now and then */
export async function readRecording(
  sessionId: string,
  signal: AbortSignal,
  onProgress: (lines: number) => void,
): Promise<Recording> {
  const response = await send(`/sessions/${encodeURIComponent(sessionId)}/replay`, { signal });
  const collector = new Collector();
  let lines = 0;
  for await (const line of linesOf(response)) {
    collector.add(JSON.parse(line) as ReplayEvent);
    if (++lines % 5_000 === 0) onProgress(lines);
  }
  return collector.recording();
}

async function* linesOf(response: Response): AsyncGenerator<string> {
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const parts = (rest + value).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (part !== '') yield part;
  }
  if (rest !== '') yield rest;
}
