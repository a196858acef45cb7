/** Connections of the rules, as the rest of the program knows connections: with the files that hold their secrets. */
import { lstatSync } from 'node:fs';
import path from 'node:path';
import type { AddedConnection } from './connection-schema.ts';
import type { ConnectionConfiguration } from './schema.ts';

/**
 * @param directory has a folder `NAME/` with the passwords in `gateway`, `designer` and `executor`, and the authority of
 *   the target's certificate in `ca.pem`, where it is not one that everybody trusts
 */
export function connectionOf({ users, tls, ...rest }: AddedConnection, directory: string): ConnectionConfiguration {
  const file = (name: string) => path.join(directory, rest.name, name);
  const caFile = file('ca.pem');
  const logIn = (duty: keyof typeof users) => ({ user: users[duty], password: { file: file(duty) } });
  return {
    ...rest,
    tls: tls.mode === 'verify-full' && isThere(caFile) ? { ...tls, caFile } : tls,
    credentials: { gateway: logIn('gateway'), designer: logIn('designer'), executor: logIn('executor') },
  };
}

/** One that is there and cannot be read must not be taken for none: others than this authority would be trusted. */
function isThere(file: string): boolean {
  try {
    return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}
