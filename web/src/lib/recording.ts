/**
 * A recording within bounds: of a session with a million rows the first rows of each result are kept, the rest is
 * counted. Cells are text and stay text; nothing here is ever read as markup.
 */

export type ReplayEvent = { readonly offsetMs: number } & (
  | { readonly type: 'request'; readonly request: RecordedRequest }
  | { readonly type: 'columns'; readonly columns: readonly { readonly name: string }[] }
  | { readonly type: 'row'; readonly values: readonly (string | null)[] }
  | { readonly type: 'complete'; readonly tag: string }
  | { readonly type: 'error' | 'notice'; readonly fields: Readonly<Record<string, string>> }
  | { readonly type: 'copy-data'; readonly data: string }
  | { readonly type: 'end' | 'ready' | 'message' | 'parameter' | 'copy' | 'notification' }
);

interface RecordedRequest {
  readonly kind: string;
  readonly text?: string;
  readonly code?: string;
  readonly chunk?: number;
  readonly run?: string;
}

/** What was asked, and what was delivered for it. */
export interface Scene {
  readonly no: number;
  readonly startMs: number;
  endMs: number;
  readonly request: RecordedRequest;
  columns: readonly string[];
  readonly rows: (readonly (string | null)[])[];
  /** Delivered; `rows` holds the first of them. */
  rowCount: number;
  readonly notes: string[];
  tag: string | undefined;
  error: Readonly<Record<string, string>> | undefined;
}

export interface Recording {
  readonly scenes: readonly Scene[];
  readonly durationMs: number;
  /** False: the recording was cut off by a crash, or is still being made. */
  readonly isWhole: boolean;
  /** Scenes that were left out because there are more than can be shown. */
  readonly leftOut: number;
}

const mostScenes = 2_000;
const mostRows = 200;
/** Of all cells that are kept, in characters. */
const mostText = 20_000_000;
const mostCell = 4_000;

export class Collector {
  readonly #scenes: Scene[] = [];
  #text = 0;
  #leftOut = 0;
  #endMs = 0;
  #isWhole = false;
  #current: Scene | undefined;

  add(event: ReplayEvent): void {
    this.#endMs = Math.max(this.#endMs, event.offsetMs);
    if (event.type === 'end') this.#isWhole = true;
    else if (event.type === 'request') this.#begin(event.offsetMs, event.request);
    else this.#take(event);
  }

  recording(): Recording {
    return { scenes: this.#scenes, durationMs: this.#endMs, isWhole: this.#isWhole, leftOut: this.#leftOut };
  }

  #begin(startMs: number, request: RecordedRequest): void {
    if (this.#scenes.length >= mostScenes) {
      this.#leftOut++;
      this.#current = undefined;
      return;
    }
    this.#current = {
      no: this.#scenes.length,
      startMs,
      endMs: startMs,
      request,
      columns: [],
      rows: [],
      rowCount: 0,
      notes: [],
      tag: undefined,
      error: undefined,
    };
    this.#scenes.push(this.#current);
  }

  #take(event: Exclude<ReplayEvent, { type: 'request' }>): void {
    const scene = this.#current;
    if (scene === undefined) return;
    scene.endMs = event.offsetMs;
    if (event.type === 'columns') scene.columns = event.columns.map(({ name }) => name);
    else if (event.type === 'row') this.#row(scene, event.values);
    else if (event.type === 'copy-data') this.#row(scene, [event.data]);
    else if (event.type === 'complete') scene.tag = event.tag;
    else if (event.type === 'error') scene.error = event.fields;
    else if (event.type === 'notice' && scene.notes.length < 20) scene.notes.push(event.fields['message'] ?? '');
  }

  #row(scene: Scene, values: readonly (string | null)[]): void {
    scene.rowCount++;
    if (scene.rows.length >= mostRows || this.#text > mostText) return;
    const kept = values.map((cell) => (cell !== null && cell.length > mostCell ? `${cell.slice(0, mostCell)}…` : cell));
    this.#text += kept.reduce((sum, cell) => sum + (cell?.length ?? 0), 0);
    scene.rows.push(kept);
  }
}
