/** Connections of the rules, as the rest of the program knows connections: with the files that hold their secrets. */
import { existsSync } from 'node:fs';
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
    tls: tls.mode === 'verify-full' && existsSync(caFile) ? { ...tls, caFile } : tls,
    credentials: { gateway: logIn('gateway'), designer: logIn('designer'), executor: logIn('executor') },
  };
}
