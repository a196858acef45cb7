import colors from 'picocolors';

/** One line of the replay stream, as far as people read it. */
export type ReplayLine = { readonly offsetMs: number } & (
  | {
      readonly type: 'request';
      readonly request: {
        readonly kind: string;
        readonly text?: string;
        readonly run?: string;
        readonly chunk?: number;
        readonly parameters?: readonly (string | null)[];
        readonly code?: string;
      };
    }
  | { readonly type: 'columns'; readonly columns: readonly { readonly name: string }[] }
  | { readonly type: 'row'; readonly values: readonly (string | null)[] }
  | { readonly type: 'complete'; readonly tag: string }
  | { readonly type: 'error' | 'notice'; readonly fields: Readonly<Record<string, string>> }
  | { readonly type: 'end' | 'ready' | 'message' | 'parameter' | 'copy' | 'copy-data' | 'notification' }
);

const maxCell = 40;

/** Turns replay events into lines; shows at most `maxRows` rows of each result and counts the others. */
export function replayText(maxRows: number): (event: ReplayLine) => string[] {
  let rows = 0;
  return (event) => {
    const at = colors.dim(`${(event.offsetMs / 1_000).toFixed(3).padStart(9)}s `);
    const indent = ' '.repeat(11);
    switch (event.type) {
      case 'request': {
        const { kind, text, run, chunk, parameters, code } = event.request;
        rows = 0;
        const what = text ?? `chunk ${chunk} of ${run}`;
        const values =
          parameters === undefined || parameters.length === 0
            ? ''
            : colors.dim(`  -- ${parameters.map((value) => value ?? 'NULL').join(', ')}`);
        return [
          `${at}${colors.bold(kind === 'denied' ? colors.red(`denied [${code}]`) : '>')} ${what.trim()}${values}`,
        ];
      }
      case 'columns':
        rows = 0;
        return [`${indent}${colors.dim(event.columns.map((column) => column.name).join(' | '))}`];
      case 'row':
        rows++;
        return rows > maxRows ? [] : [`${indent}${event.values.map(cell).join(' | ')}`];
      case 'complete': {
        const hidden = rows - maxRows;
        const rest = hidden > 0 ? colors.dim(` (${hidden} more rows)`) : '';
        rows = 0;
        return [`${indent}${colors.green(event.tag)}${rest}`];
      }
      case 'error':
      case 'notice':
        return [
          `${at}${event.type === 'error' ? colors.red('ERROR') : colors.yellow('NOTICE')} ${event.fields['message'] ?? ''}`,
        ];
      case 'end':
        return [`${at}${colors.dim('session ended')}`];
      case 'ready':
      case 'message':
      case 'parameter':
      case 'copy':
      case 'copy-data':
      case 'notification':
        return [];
      default:
        event satisfies never;
        return [];
    }
  };
}

function cell(value: string | null): string {
  if (value === null) return colors.dim('NULL');
  return value.length > maxCell ? `${value.slice(0, maxCell - 1)}…` : value;
}
