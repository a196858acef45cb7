/** Jobs as the API tells of them. */

export interface Author {
  readonly human: string;
  readonly name: string;
  readonly role: 'pusher' | 'author' | 'committer' | 'co-author' | 'requester';
}

export interface Standing {
  readonly request: string;
  readonly state: 'pending' | 'approved' | 'rejected' | 'withdrawn' | 'expired';
  readonly grant?: 'open' | 'consumed' | 'void' | 'expired';
  readonly run?: string;
  readonly runState?: string;
}

export interface JobVersion {
  readonly job: string;
  readonly version: number;
  readonly path: string;
  readonly commit: string;
  readonly contentDigest: string;
  readonly connection: string;
  readonly authors: readonly Author[];
  readonly pushedBy: string;
  readonly pushedAt: string;
  readonly standing: Standing | null;
}

export interface JobText extends JobVersion {
  readonly content: string;
}

/** Each human once, with every role. */
export function authorsText(authors: readonly Author[]): string {
  const roles = new Map<string, Set<string>>();
  for (const { human, role } of authors) roles.set(human, (roles.get(human) ?? new Set()).add(role));
  return [...roles].map(([human, all]) => `${human} (${[...all].join(', ')})`).join('; ');
}

/** What became of a version: one word for the badge. */
export function standingState(standing: Standing | null): string {
  if (standing === null) return 'not asked for';
  if (standing.runState !== undefined) return standing.runState;
  return standing.grant === undefined || standing.grant === 'open' ? standing.state : standing.grant;
}

export interface DefinitionProblem {
  readonly line: number;
  readonly message: string;
}

/** `jobs/x.yaml:7: chunk.rows: expected …`, one a line, as the server says it. */
export function problemsOf(message: string): DefinitionProblem[] {
  return message.split('\n').flatMap((text) => {
    const [, line, said] = /^[^:\n]+\.ya?ml:(\d+): (.+)$/.exec(text) ?? [];
    return line === undefined || said === undefined ? [] : [{ line: Number(line), message: said }];
  });
}
