/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL uses it (manual, "SASL Authentication"): both ends as state machines
 * over the texts of the messages; nonces are arguments. The user name inside the exchange counts for nothing, the one of
 * the start-up packet does.
 *
 * Channel binding (SCRAM-SHA-256-PLUS) is of the kind `tls-server-end-point`. A server that can bind offers PLUS and takes
 * the gs2 flags `p` (bound) and `n` (the client cannot); `y` (it could, but was not offered it) then means that somebody
 * took the offer away. A client sends `p` where PLUS is offered, `y` where it could bind, `n` where it cannot.
 *
 * Server: new -> first -> challenged -> final -> done. Client: new -> first -> started -> final -> answered -> verify ->
 * done. A step out of turn is a failure, so that one nonce proves one thing once, and an iteration count costs once.
 */
import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from 'node:crypto';
import { CountersignError } from '../../errors.ts';
import { preparePassword } from './saslprep.ts';

export interface ScramVerifier {
  readonly salt: Buffer;
  readonly iterations: number;
  /** 32 bytes. */
  readonly storedKey: Buffer;
  /** 32 bytes. */
  readonly serverKey: Buffer;
}

/** What PostgreSQL uses by default. */
export const defaultIterations = 4096;
/** RFC 7677, section 4. A server that asks for less wants a password that is cheap to guess. */
const minIterations = 4096;
/** A server that asks for more would only burn our time. */
const maxIterations = 1_000_000;
const keyBytes = 32;
export const plainMechanism = 'SCRAM-SHA-256';
export const boundMechanism = 'SCRAM-SHA-256-PLUS';
/** The gs2 header of an exchange that is bound to the server's certificate. */
const boundHeader = 'p=tls-server-end-point,,';

// The grammar of RFC 5802, section 7. A nonce is printable and without comma; SHA-256 in base64 is 43 characters and '='.
const nonce = '[\\x21-\\x2b\\x2d-\\x7e]+';
const base64 = '(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?';
const digest64 = '[A-Za-z0-9+/]{43}=';
/** Optional extensions, which a receiver that does not know them passes over. */
const extensions = '(?:,[A-Za-z]=[^,\\0]+)*';
const nonceText = new RegExp(`^${nonce}$`);
const clientFirstText = new RegExp(
  `^(?<gs2>(?:n|y|p=[A-Za-z0-9.-]+),,)(?<bare>n=[^,\\0]*,r=(?<nonce>${nonce})${extensions})$`,
);
const serverFirstText = new RegExp(
  `^r=(?<nonce>${nonce}),s=(?<salt>${base64}),i=(?<iterations>\\d{1,9})${extensions}$`,
);
const clientFinalText = new RegExp(
  `^(?<bare>c=(?<binding>${base64}),r=(?<nonce>${nonce})${extensions}),p=(?<proof>${digest64})$`,
);
const serverFinalText = new RegExp(`^v=(?<signature>${digest64})${extensions}$`);

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'utf8').digest();
}

function sha256(data: Buffer): Buffer {
  return createHash('sha256').update(data).digest();
}

function xor(a: Buffer, b: Buffer): Buffer {
  const result = Buffer.alloc(keyBytes);
  for (let index = 0; index < keyBytes; index++) result[index] = (a[index] ?? 0) ^ (b[index] ?? 0);
  return result;
}

function saltedPassword(password: string, salt: Buffer, iterations: number): Buffer {
  return pbkdf2Sync(preparePassword(password), salt, iterations, keyBytes, 'sha256');
}

/** What a server keeps of a password: enough to check a proof, not enough to make one. `salt`: 16 random bytes. */
export function makeVerifier(password: string, salt: Buffer, iterations: number = defaultIterations): ScramVerifier {
  const salted = saltedPassword(password, salt, iterations);
  return {
    salt,
    iterations,
    storedKey: sha256(hmac(salted, 'Client Key')),
    serverKey: hmac(salted, 'Server Key'),
  };
}

/**
 * A verifier that nothing satisfies, the same for a user each time, so that an unknown user looks like a known one (whose
 * salt is 16 bytes and whose iterations are the default).
 */
export function mockVerifier(user: string, secret: Buffer): ScramVerifier {
  return {
    salt: hmac(secret, `salt ${user}`).subarray(0, 16),
    iterations: defaultIterations,
    storedKey: hmac(secret, `stored ${user}`),
    serverKey: hmac(secret, `server ${user}`),
  };
}

function violation(problem: string): CountersignError {
  return new CountersignError('protocol_violation', `SCRAM: ${problem}`);
}

function checkNonce(text: string): string {
  if (!nonceText.test(text)) throw new Error('a SCRAM nonce is printable ASCII without a comma');
  return text;
}

/** The server's end: `first`, then `final`, once each. */
export class ScramServer {
  readonly #verifier: ScramVerifier;
  readonly #serverNonce: string;
  readonly #binding: Buffer | undefined;
  #state: 'new' | 'challenged' | 'done' = 'new';
  #isBound = false;
  #gs2Header = '';
  #clientFirstBare = '';
  #serverFirst = '';
  #nonce = '';

  /**
   * `nonce`: at least 18 random bytes in base64, never used before. `binding`: the channel's `tls-server-end-point`;
   * undefined = there is none, and PLUS is not offered.
   */
  constructor(options: {
    readonly verifier: ScramVerifier;
    readonly nonce: string;
    readonly binding?: Buffer | undefined;
  }) {
    this.#verifier = options.verifier;
    this.#serverNonce = checkNonce(options.nonce);
    this.#binding = options.binding;
  }

  /** What to offer, strongest first. */
  get mechanisms(): readonly string[] {
    return this.#binding === undefined ? [plainMechanism] : [boundMechanism, plainMechanism];
  }

  #advance(from: 'new' | 'challenged', to: 'challenged' | 'done'): void {
    if (this.#state !== from) throw violation('a message out of turn');
    this.#state = to;
  }

  /**
   * Takes the mechanism that the client picked and its client-first-message, gives the server-first-message.
   * @throws CountersignError `protocol_violation`; `authentication_failed` when somebody took the offer of PLUS away
   */
  first(clientFirst: string, mechanism: string = plainMechanism): string {
    this.#advance('new', 'challenged');
    if (!this.mechanisms.includes(mechanism)) {
      throw violation(`the mechanism ${JSON.stringify(mechanism.slice(0, 64))} was not offered`);
    }
    const fields = clientFirstText.exec(clientFirst)?.groups;
    if (fields === undefined) throw violation(clientFirstProblem(clientFirst));
    this.#gs2Header = fields['gs2'] ?? '';
    this.#isBound = mechanism === boundMechanism;
    this.#checkFlag();
    this.#clientFirstBare = fields['bare'] ?? '';
    this.#nonce = (fields['nonce'] ?? '') + this.#serverNonce;
    const { salt, iterations } = this.#verifier;
    this.#serverFirst = `r=${this.#nonce},s=${salt.toString('base64')},i=${iterations}`;
    return this.#serverFirst;
  }

  /** The gs2 flag has to fit what was offered and picked. */
  #checkFlag(): void {
    const header = this.#gs2Header;
    if (this.#isBound) {
      if (header === boundHeader) return;
      throw violation(
        header.startsWith('p')
          ? 'the channel binding is of a kind that was not offered; it has to be tls-server-end-point'
          : 'the client picked SCRAM-SHA-256-PLUS without channel binding',
      );
    }
    if (header.startsWith('p')) throw violation('the client asks for channel binding, which was not offered');
    if (header.startsWith('y') && this.#binding !== undefined) {
      throw new CountersignError(
        'authentication_failed',
        'SCRAM channel binding negotiation error: the client could bind and saw no offer of it, but it was offered',
        { hint: 'somebody between client and gateway may have changed the offer' },
      );
    }
  }

  /**
   * Takes the client-final-message, gives the server-final-message.
   * @throws CountersignError `protocol_violation`; `authentication_failed` when the proof is wrong
   */
  final(clientFinal: string): string {
    this.#advance('challenged', 'done');
    const fields = clientFinalText.exec(clientFinal)?.groups;
    if (fields === undefined || this.#nonce === '') throw violation('malformed client-final-message');
    if (fields['nonce'] !== this.#nonce) throw violation('the nonce does not match');
    this.#checkBinding(fields['binding'] ?? '');
    const { storedKey, serverKey } = this.#verifier;
    const authMessage = `${this.#clientFirstBare},${this.#serverFirst},${fields['bare']}`;
    const clientKey = xor(Buffer.from(fields['proof'] ?? '', 'base64'), hmac(storedKey, authMessage));
    if (!timingSafeEqual(sha256(clientKey), storedKey)) {
      throw new CountersignError('authentication_failed', 'password authentication failed');
    }
    return `v=${hmac(serverKey, authMessage).toString('base64')}`;
  }

  #checkBinding(given: string): void {
    if (given === bindingText(this.#gs2Header, this.#isBound ? this.#binding : undefined)) return;
    if (!this.#isBound) throw violation('the channel binding does not match');
    throw new CountersignError(
      'authentication_failed',
      "SCRAM channel binding check failed: the client saw another certificate than this gateway's",
      { hint: 'something between client and gateway ends TLS' },
    );
  }
}

/** The attribute `c`: the gs2 header and, where the exchange is bound, the binding behind it. */
function bindingText(gs2Header: string, binding: Buffer | undefined): string {
  return Buffer.concat([Buffer.from(gs2Header, 'latin1'), binding ?? Buffer.alloc(0)]).toString('base64');
}

function clientFirstProblem(clientFirst: string): string {
  if (/^(?:[ny]|p=[^,]*),a=/.test(clientFirst)) return 'an authorization identity is not supported';
  if (/^(?:[ny]|p=[^,]*),,m=/.test(clientFirst)) return 'the client requires an extension that is not supported';
  return 'malformed client-first-message';
}

/**
 * The client's end: `first`, `final`, `verify`, once each. Whatever the server does wrong is
 * CountersignError `target_login_failed`.
 */
export class ScramClient {
  readonly #password: string;
  readonly #user: string;
  readonly #clientNonce: string;
  readonly #binding: Buffer | undefined;
  #gs2Header = 'n,,';
  #state: 'new' | 'started' | 'answered' | 'done' = 'new';
  #serverSignature: Buffer | undefined;

  /**
   * `nonce`: at least 18 random bytes in base64, never used before. `user`: PostgreSQL ignores it, and drivers leave it
   * empty. `binding`: the channel's `tls-server-end-point`; undefined = we cannot bind.
   */
  constructor(options: {
    readonly password: string;
    readonly nonce: string;
    readonly user?: string;
    readonly binding?: Buffer | undefined;
  }) {
    this.#binding = options.binding;
    this.#password = options.password;
    this.#clientNonce = checkNonce(options.nonce);
    this.#user = (options.user ?? '').replaceAll('=', '=3D').replaceAll(',', '=2C');
  }

  /** The server has proved that it knows the password's verifier. Without this an AuthenticationOk proves nothing. */
  get finished(): boolean {
    return this.#state === 'done';
  }

  #advance(from: 'new' | 'started', to: 'started' | 'answered'): void {
    if (this.#state !== from) throw refused('a message out of turn');
    this.#state = to;
  }

  get #firstBare(): string {
    return `n=${this.#user},r=${this.#clientNonce}`;
  }

  /** Picks from what the server offers; undefined = nothing that we know. */
  choose(offered: readonly string[]): string | undefined {
    if (this.#binding !== undefined) {
      if (offered.includes(boundMechanism)) {
        this.#gs2Header = boundHeader;
        return boundMechanism;
      }
      this.#gs2Header = 'y,,';
    }
    return offered.includes(plainMechanism) ? plainMechanism : undefined;
  }

  /** The client-first-message. */
  first(): string {
    this.#advance('new', 'started');
    return `${this.#gs2Header}${this.#firstBare}`;
  }

  /** Takes the server-first-message, gives the client-final-message. Costs as many HMACs as the server asks for. */
  final(serverFirst: string): string {
    this.#advance('started', 'answered');
    const fields = serverFirstText.exec(serverFirst)?.groups;
    if (fields === undefined) throw refused('malformed server-first-message');
    const { nonce: combined = '', salt = '' } = fields;
    if (!combined.startsWith(this.#clientNonce) || combined.length === this.#clientNonce.length) {
      throw refused('the server did not extend our nonce');
    }
    if (salt === '') throw refused('the server sent no salt');
    const iterations = Number(fields['iterations']);
    if (iterations < minIterations || iterations > maxIterations) {
      throw refused(`the server asks for ${iterations} iterations; ${minIterations} to ${maxIterations} are accepted`);
    }
    const salted = saltedPassword(this.#password, Buffer.from(salt, 'base64'), iterations);
    const clientKey = hmac(salted, 'Client Key');
    const withoutProof = `c=${bindingText(this.#gs2Header, this.#gs2Header === boundHeader ? this.#binding : undefined)},r=${combined}`;
    const authMessage = `${this.#firstBare},${serverFirst},${withoutProof}`;
    const proof = xor(clientKey, hmac(sha256(clientKey), authMessage));
    this.#serverSignature = hmac(hmac(salted, 'Server Key'), authMessage);
    return `${withoutProof},p=${proof.toString('base64')}`;
  }

  /** Takes the server-final-message: the server's own proof. */
  verify(serverFinal: string): void {
    const expected = this.#serverSignature;
    this.#serverSignature = undefined;
    if (this.#state !== 'answered' || expected === undefined) throw refused('a message out of turn');
    if (serverFinal.startsWith('e=')) throw refused(`the server reports ${JSON.stringify(serverFinal.slice(2, 64))}`);
    const signature = serverFinalText.exec(serverFinal)?.groups?.['signature'];
    if (signature === undefined) throw refused('malformed server-final-message');
    if (!timingSafeEqual(Buffer.from(signature, 'base64'), expected)) {
      throw refused("the server's signature is wrong; it may be an impostor");
    }
    this.#state = 'done';
  }
}

function refused(problem: string): CountersignError {
  return new CountersignError('target_login_failed', `SCRAM: ${problem}`);
}
