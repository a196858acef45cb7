import type { Adapter, AdapterPayload } from 'oidc-provider';

/** What the provider must remember, in one map per provider; what has expired is forgotten when it is next met. */
export function memoryAdapter(): (model: string) => Adapter {
  const entries = new Map<string, { payload: AdapterPayload; expiresAtMs: number }>();
  const live = (key: string): AdapterPayload | undefined => {
    const entry = entries.get(key);
    if (entry === undefined || entry.expiresAtMs > Date.now()) return entry?.payload;
    entries.delete(key);
    return undefined;
  };
  return (model) => {
    const first = (match: (payload: AdapterPayload) => boolean): AdapterPayload | undefined => {
      for (const key of entries.keys()) {
        const payload = key.startsWith(`${model}:`) ? live(key) : undefined;
        if (payload !== undefined && match(payload)) return payload;
      }
      return undefined;
    };
    const now = <T>(value: T): Promise<T> => Promise.resolve(value);
    return {
      upsert: (id, payload, expiresIn) => {
        const expiresAtMs = expiresIn === undefined ? Number.POSITIVE_INFINITY : Date.now() + expiresIn * 1_000;
        entries.set(`${model}:${id}`, { payload, expiresAtMs });
        return now(undefined);
      },
      find: (id) => now(live(`${model}:${id}`)),
      findByUid: (uid) => now(first((payload) => payload.uid === uid)),
      findByUserCode: (code) => now(first((payload) => payload.userCode === code)),
      consume: (id) => {
        const payload = live(`${model}:${id}`);
        if (payload !== undefined) payload.consumed = Math.floor(Date.now() / 1_000);
        return now(undefined);
      },
      destroy: (id) => {
        entries.delete(`${model}:${id}`);
        return now(undefined);
      },
      revokeByGrantId: (grantId) => {
        for (const [key, { payload }] of entries) if (payload.grantId === grantId) entries.delete(key);
        return now(undefined);
      },
    };
  };
}
