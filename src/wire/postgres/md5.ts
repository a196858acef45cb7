/** The answer to AuthenticationMD5Password (PostgreSQL manual, "Start-up"). Only towards targets that ask for it. */
import { createHash } from 'node:crypto';

/** "md5" + md5(md5(password + user) + salt), each digest in hex. `salt`: the 4 bytes that the server sent. */
export function md5Password(user: string, password: string, salt: Buffer): string {
  const inner = createHash('md5').update(password, 'utf8').update(user, 'utf8').digest('hex');
  return `md5${createHash('md5').update(inner, 'latin1').update(salt).digest('hex')}`;
}
