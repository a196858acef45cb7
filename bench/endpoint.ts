/** Where a benchmark client connects, and the process that stands there. */
export interface Endpoint {
  readonly name: 'direct' | 'pgbouncer' | 'gateway';
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** The process between client and server; undefined where there is none. */
  readonly pid?: number;
}
