import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CountersignError } from '../errors.ts';

/**
 * The secrets that a deployment makes for itself at its first start, in `<dataDirectory>/keys`, readable by the gateway's
 * user only. Losing one is survivable; publishing one is not. Who wants them elsewhere puts the files there beforehand.
 */
export interface KeyFolder {
  /** 32 random bytes of this name. */
  secret(name: string): Buffer;
  /** A text of this name, made by `create` if it is not there. */
  text(name: string, create: () => string): string;
}

export function openKeys(directory: string): KeyFolder {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const text = (name: string, create: () => string): string => {
    const file = path.join(directory, name);
    if (!existsSync(file)) writeFileSync(file, create(), { mode: 0o600, flag: 'wx', flush: true });
    return readFileSync(file, 'utf8');
  };
  return {
    text,
    secret: (name) => {
      const key = Buffer.from(
        text(name, () => `${randomBytes(32).toString('base64')}\n`),
        'base64',
      );
      if (key.length === 32) return key;
      throw new CountersignError(
        'configuration_invalid',
        `the key file ${path.join(directory, name)} does not hold 32 bytes in base64`,
      );
    },
  };
}
