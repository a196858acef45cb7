/**
 * What the gateway's own process (the main process) and its worker processes say to each other. A worker holds a data
 * plane and nothing else: it asks the main process for everything that the control plane decides, and its log entries go
 * over a pipe of their own (`remote-log.ts`).
 */
import type { Configuration } from '../config/schema.ts';
import { CountersignError, type ErrorCode } from '../errors.ts';
import type { ControlPlane } from '../gate/control-plane.ts';
import type { Authenticator } from '../gateway/login.ts';
import type { SessionMatch } from '../gateway/postgres.ts';
import type { Principal } from '../identity/principal.ts';

/** What a worker may ask. The last argument of each is a signal that the worker aborts. */
export interface Calls extends ControlPlane {
  credential: Authenticator['credential'];
  token(jwt: string): Promise<Principal>;
  checkSeats(): Promise<void>;
  /** @returns the number of the seat */
  takeSeat(principalId: string): Promise<number>;
}

export type CallName = keyof Calls;

export type ToWorker =
  | { readonly kind: 'start'; readonly configuration: Configuration }
  /** A client's socket comes with it. */
  | { readonly kind: 'client'; readonly isLocal: boolean }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly error: PlainError }
  | { readonly kind: 'cancel'; readonly processId: number; readonly secretKey: Uint8Array }
  /** Answered with `sessions-ended`. */
  | { readonly kind: 'end-sessions'; readonly id: number; readonly match: SessionMatch; readonly error: PlainError }
  | { readonly kind: 'reload'; readonly configuration: Configuration }
  | { readonly kind: 'expire'; readonly connection: string }
  | { readonly kind: 'close' };

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly error: PlainError }
  | { readonly kind: 'call'; readonly id: number; readonly name: CallName; readonly args: readonly unknown[] }
  | { readonly kind: 'abort'; readonly id: number; readonly reason: string }
  | { readonly kind: 'leave'; readonly seat: number }
  | { readonly kind: 'cancel'; readonly processId: number; readonly secretKey: Uint8Array }
  | { readonly kind: 'expire'; readonly connection: string }
  | { readonly kind: 'sessions-ended'; readonly id: number }
  /** Nobody expected it; for the server log. */
  | { readonly kind: 'fault'; readonly text: string };

/** A CountersignError as it crosses from process to process. */
export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | undefined;
  readonly detail: string | undefined;
  readonly position: number | undefined;
}

export function plainError({ code, message, hint, detail, position }: CountersignError): PlainError {
  return { code, message, hint, detail, position };
}

export function errorOf({ code, message, hint, detail, position }: PlainError): CountersignError {
  return new CountersignError(code, message, { hint, detail, position });
}
