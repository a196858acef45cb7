/** Who asks. A principal is a person or a service account; for every duty rule a service account is its owner. */

export type Duty = 'designer' | 'approver' | 'executor' | 'auditor' | 'admin';

export const duties: readonly Duty[] = ['designer', 'approver', 'executor', 'auditor', 'admin'];

export interface Principal {
  /** Stable id: the subject at the identity provider, or the service account's name. */
  readonly id: string;
  /** The human behind it: the own id for a person, the owner's id for a service account. */
  readonly human: string;
  readonly kind: 'person' | 'service';
  readonly displayName: string;
  readonly email: string | undefined;
  readonly groups: readonly string[];
}
