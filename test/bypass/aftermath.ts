/** After all attacks: what the target saw, and what the log, the recordings and the server's own log hold. */
import assert from 'node:assert/strict';
import { assertClean, scriptList } from './attack.ts';

const { scripts, add } = scriptList('what is left behind', 'masked');
export const aftermathScripts = scripts;

/**
 * Digests, ids and the names of issued credentials (`reader.e66tgn`) are random: among thousands of them any four
 * letters and any eight digits stand somewhere.
 */
function withoutRandom(text: string): string {
  return text.replaceAll(/[0-9a-f]{32,}|\b[a-z]+_[0-9a-z]{16}\b|(?<="[a-z-]+\.)[0-9a-z]{6}(?=")/g, '');
}

add('nothing that was refused arrived at the target', async ({ harness, refused }) => {
  const log = await harness.targetLog();
  assert.ok(refused.length > 50);
  for (const { marker, text } of refused) assert.ok(!log.includes(`/*${marker}*/`), text);
});

add('the log holds no raw value', async ({ harness }) => {
  for (const entry of await harness.entries()) {
    // What the attacker typed is not what the target gave.
    if ('text' in entry) continue;
    assertClean(withoutRandom(JSON.stringify(entry)));
  }
});

add('the recordings hold no raw value', async ({ harness }) => {
  const { body } = await harness.api<{ sessions: { id: string }[] }>('auditor', 'GET', '/sessions?limit=1000');
  assert.ok(body.sessions.length > 20);
  const token = await harness.token('auditor');
  for (const { id } of body.sessions) {
    const response = await fetch(`${harness.app.apiUrl}/api/v1/sessions/${id}/replay`, {
      headers: { authorization: `Bearer ${token}` },
    });
    for (const line of (await response.text()).split('\n'))
      if (!line.includes('"text":')) assertClean(withoutRandom(line));
  }
});

add('the log of the server holds no raw value', async ({ harness }) => {
  assertClean(harness.serverLog());
});
