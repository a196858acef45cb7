/**
 * What the HTTP API stands on. Every rule lives behind one of these; a route only says who asks, for what, and in which
 * shape the answer goes out.
 */
import type { TransparencyLog } from '../audit/log.ts';
import type { LogEvent } from '../audit/events.ts';
import type { ReplayEvent } from '../audit/replay.ts';
import type { RequestService } from '../approvals/requests.ts';
import type { TemplateService } from '../approvals/templates.ts';
import type { RuleService } from '../approvals/rule-service.ts';
import type { CountersignError } from '../errors.ts';
import type { CredentialDescription } from '../identity/credentials.ts';
import type { Humans } from '../identity/humans.ts';
import type { Proof } from '../identity/fresh-groups.ts';
import type { CliLogin } from '../identity/providers.ts';
import type { PageLogin } from '../identity/page-login.ts';
import type { Leavers } from '../identity/leavers.ts';
import type { SamlLogin } from '../identity/saml.ts';
import type { WebSessions } from '../identity/web-sessions.ts';
import type { Duty, Principal } from '../identity/principal.ts';
import type { ServiceAccounts } from '../identity/service-accounts.ts';
import type { Ledger } from '../jobs/ledger.ts';
import type { JobDraft } from '../jobs/draft.ts';
import type { RunCredential, RunService } from '../jobs/runs.ts';
import type { JobSubmission } from '../jobs/submission.ts';
import type { Notifier } from '../notify/notifier.ts';
import type { DoctorReport } from '../review/doctor.ts';
import type { Executions } from '../review/executions.ts';
import type { AccessReviews } from '../review/reviews.ts';
import type { Inheritance } from '../approvals/inheritance.ts';
import type { Clock } from '../lib/clock.ts';
import type { MaskingTemplate } from '../masking/policy.ts';
import type { MaskTrial, TriedMask } from '../masking/trial.ts';
import type { ChangeFeed } from '../store/changes.ts';
import type { Store } from '../store/database.ts';
import type { SeenPrincipal } from '../store/principals.ts';
import type { StoredSession } from '../store/sessions.ts';
import type { ScimService } from './scim.ts';

export interface ApiConnection {
  readonly name: string;
  readonly engine: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly target: { readonly host: string; readonly port: number; readonly database: string; readonly tls: string };
  readonly masks: readonly { readonly column: string; readonly mask: string; readonly rule: string }[];
  /** Why its columns are not known now: the target could not be asked. */
  readonly problem: { readonly code: string; readonly message: string; readonly hint: string | undefined } | null;
  /** Whose it is: the configuration file's, or of the rules that were applied. */
  readonly origin: 'file' | 'rules';
}

export interface ReachedTarget {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly systemIdentifier: string;
  readonly serverVersion: string;
  readonly tookMs: number;
}

export interface ApiServices {
  readonly version: string;
  readonly node: string;
  readonly clock: Clock;
  readonly store: Store;
  readonly log: TransparencyLog;
  readonly verifierKey: string;
  /** Folder of the log's tiles. */
  readonly logDirectory: string;
  readonly note: (event: LogEvent) => void;
  readonly encode: (event: LogEvent) => string;
  /** How the command line logs in; the first is what it uses if nobody says which. */
  readonly cliLogins: readonly CliLogin[];
  readonly pageLogin: PageLogin;
  readonly samlLogin: SamlLogin;
  readonly leavers: Leavers;
  /** Undefined where the configuration has no `identity.scim`. */
  readonly scim: ScimService | undefined;
  readonly webSessions: WebSessions;
  /**
   * Everybody who has proved who they are passes here, at every call: with the groups that count now, or refused.
   * @throws principal_disabled, principal_not_provisioned
   */
  readonly admit: (principal: Principal) => Promise<Principal>;
  /** The same for somebody who has just proved it; the principal is in the directory afterwards. */
  readonly enter: (principal: SeenPrincipal) => Promise<Principal>;
  /** The address that people use, without a slash at its end. */
  readonly publicUrl: () => string;
  /** How clients reach the PostgreSQL listener. */
  readonly gateway: { readonly host: string; readonly port: number; readonly tls: boolean };
  readonly verifyToken: (jwt: string) => Promise<Principal>;
  /** With the groups of now. @throws groups_stale, token_invalid, groups_claim_missing, identity_provider_unreachable */
  readonly freshPrincipal: (principal: Principal, proof: Proof) => Promise<Principal>;
  /** Duties on one connection; empty where there is none of that name. */
  readonly dutiesOn: (principal: Principal, connection: string) => readonly Duty[];
  readonly connectionNames: () => readonly string[];
  readonly describeConnection: (name: string) => Promise<ApiConnection>;
  /** undefined: there is none of that name. */
  readonly connectionLabels: (name: string) => Readonly<Record<string, string>> | undefined;
  /** What a connection with these labels would have. */
  readonly inheritedBy: (labels: Readonly<Record<string, string>>) => Inheritance;
  /** Asks the target who it is. @throws target_unreachable, target_login_failed, target_certificate_untrusted */
  readonly testConnection: (name: string) => Promise<ReachedTarget>;
  readonly maskingTemplates: () => readonly MaskingTemplate[];
  /** A value masked as on a connection with these labels; `hash` uses a key of its own, made for this one answer. */
  readonly tryMask: (labels: Readonly<Record<string, string>>, trial: MaskTrial) => TriedMask;
  readonly issueCredential: (
    principal: Principal,
    connection: string | undefined,
    ttlMs: number | undefined,
  ) => Promise<RunCredential>;
  readonly revokeCredential: (principal: Principal, user: string) => Promise<void>;
  /** Those of the principal that can still be used; an admin may ask for everybody's. */
  readonly listCredentials: (principal: Principal, all: boolean) => Promise<CredentialDescription[]>;
  readonly humans: Humans;
  readonly accounts: ServiceAccounts;
  readonly requests: RequestService;
  readonly templates: TemplateService;
  readonly rules: RuleService;
  readonly submission: JobSubmission;
  /** The draft of a job from the paging loop that a session ran. @throws loop_not_found, recording_unknown */
  readonly draftFromSession: (session: StoredSession) => Promise<JobDraft>;
  readonly changes: ChangeFeed;
  readonly maxEventStreams: number;
  readonly runs: RunService;
  readonly ledger: Ledger;
  readonly executions: Executions;
  readonly reviews: AccessReviews;
  readonly notifier: Notifier;
  readonly doctor: () => Promise<DoctorReport>;
  readonly replay: (sessionId: string) => AsyncIterable<ReplayEvent>;
  readonly onError: (cause: unknown) => CountersignError;
}
