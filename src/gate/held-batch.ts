/**
 * A batch of the extended protocol whose statement is held. It waits as a whole, so that the parameters are part of what
 * is asked; what is approved is one execution of one statement with these parameters, and nothing else.
 */
import { CountersignError } from '../errors.ts';
import { decodeBind, decodeExecute, decodeParse, type Bind } from '../wire/postgres/frontend.ts';
import { frontend } from '../wire/postgres/messages.ts';
import type { Admission } from './admission.ts';
import type { ParameterKind } from './control-plane.ts';
import type { Prepared } from './pipeline.ts';

export class HeldBatch {
  readonly text: string;
  readonly admission: Admission;
  /** The prepared statement, where only its next execution is held. */
  readonly prepared: Prepared | undefined;
  readonly frames: Buffer[] = [];
  /** Of the prepared statement. */
  readonly #name: string;
  readonly #maxBytes: number;
  #bytes = 0;
  #bind: { readonly message: Bind; readonly frame: Buffer } | undefined;
  #parameterTypes: readonly number[] = [];
  #parses = 0;
  #binds = 0;
  #executes = 0;
  #limitsRows = false;
  /** Bind and Execute name the held statement and its portal, and nothing else. */
  #coherent = true;

  /** @param prepared undefined = the batch begins with the Parse of the held statement */
  constructor(text: string, name: string, admission: Admission, prepared: Prepared | undefined, maxBytes: number) {
    this.text = text;
    this.#name = name;
    this.admission = admission;
    this.prepared = prepared;
    this.#maxBytes = maxBytes;
  }

  /** The Bind message, as it came. */
  get bindFrame(): Buffer | undefined {
    return this.#bind?.frame;
  }

  /** Values for people and for the digest of a request; undefined = no Bind came. */
  get parameters(): (string | null)[] | undefined {
    return this.#bind === undefined ? undefined : renderParameters(this.#bind.message);
  }

  /** Of each of them: the type that the Parse declared (0 = none), and its format. */
  get parameterKinds(): ParameterKind[] | undefined {
    if (this.#bind === undefined) return undefined;
    const { parameters, parameterFormats } = this.#bind.message;
    const types = this.prepared?.parameterTypes ?? this.#parameterTypes;
    return parameters.map((_, index) => ({
      type: types[index] ?? 0,
      format: formatOf(parameterFormats, index) === 1 ? 'binary' : 'text',
    }));
  }

  /** The rows come in pieces, and whether the last one was the last is not known. */
  get limitsRows(): boolean {
    return this.#limitsRows;
  }

  /**
   * Whether the batch only prepares the statement, as drivers do that ask for its columns and parameters first. Nothing is
   * executed by that, so it need not wait: the execution will.
   */
  get onlyPrepares(): boolean {
    return this.prepared === undefined && this.#coherent && this.#parses === 1 && this.#binds + this.#executes === 0;
  }

  /** Whether the batch says nothing but one execution of the held statement, parameters included. */
  get isComplete(): boolean {
    const needsParameters = this.admission.statements.some((statement) => statement.facts.parameters > 0);
    if (needsParameters && this.#bind === undefined) return false;
    return this.#coherent && this.#parses <= 1 && this.#binds <= 1 && this.#executes <= 1;
  }

  /** Takes a message; returns whether the batch ends with it. @throws CountersignError `message_too_large` */
  take(type: number, message: Buffer): boolean {
    const frame = Buffer.from(message);
    this.frames.push(frame);
    this.#bytes += frame.length;
    if (this.#bytes > this.#maxBytes) {
      throw new CountersignError('message_too_large', 'a held batch is larger than the message limit');
    }
    this.#inspect(type, frame);
    return type === frontend.Sync || type === frontend.Flush;
  }

  #inspect(type: number, frame: Buffer): void {
    if (type === frontend.Parse) {
      this.#parses++;
      const { query, parameterTypes } = decodeParse(frame, 0, frame.length);
      this.#parameterTypes = parameterTypes;
      this.#coherent &&= this.prepared === undefined && query === this.text;
    } else if (type === frontend.Bind) {
      this.#binds++;
      this.#bind ??= { message: decodeBind(frame, 0, frame.length), frame };
      this.#coherent &&= this.#bind.message.statement === this.#name;
    } else if (type === frontend.Execute) {
      this.#executes++;
      const { portal, maxRows } = decodeExecute(frame, 0, frame.length);
      this.#limitsRows ||= maxRows > 0;
      this.#coherent &&= this.#bind !== undefined && portal === this.#bind.message.portal;
    } else if (type === frontend.Query || type === frontend.FunctionCall) {
      this.#coherent = false;
    }
  }
}

/** Text as it is, binary as \x and hexadecimal digits. */
export function renderParameters(bind: Bind): (string | null)[] {
  return bind.parameters.map((value, index) => {
    if (value === null) return null;
    return formatOf(bind.parameterFormats, index) === 1 ? `\\x${value.toString('hex')}` : value.toString('utf8');
  });
}

/** One format code stands for all, none for text. */
function formatOf(formats: readonly number[], index: number): number | undefined {
  return formats.length === 1 ? formats[0] : formats[index];
}
