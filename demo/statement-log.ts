/** What one database's sessions sent, from the server's own log (log_statement = all). */

/** Settings that make the log readable for `statementsOf`. */
export const statementLogSettings: Readonly<Record<string, string>> = { log_statement: 'all', log_line_prefix: '%d|' };

/** The part of a server log that belongs to one database; lines that go on from the line above belong with it. */
export function statementsOf(log: string, database: string): string {
  let inDatabase = false;
  const kept: string[] = [];
  for (const line of log.split('\n')) {
    const start = /^([\w[\]]*)\|/.exec(line);
    if (start !== null) inDatabase = start[1] === database;
    if (inDatabase) kept.push(line);
  }
  return kept.join('\n');
}
