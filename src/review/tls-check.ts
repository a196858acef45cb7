/** Certificates and TLS settings: of the gateway's own listeners (files), and of its targets (as they show themselves). */
import { X509Certificate } from 'node:crypto';
import { isLoopbackHost } from '../lib/addresses.ts';
import type { Finding } from './finding.ts';

export interface CertificateFacts {
  readonly where: string;
  readonly subject: string;
  readonly validFrom: Date;
  readonly validTo: Date;
  readonly keyType: string;
  /** Of RSA and DSA keys. */
  readonly keyBits: number | undefined;
  /** Of EC keys. */
  readonly curve: string | undefined;
  readonly signature: string;
}

/** @throws what is no certificate */
export function certificateFacts(where: string, certificate: string | Buffer): CertificateFacts {
  const parsed = new X509Certificate(certificate);
  const key = parsed.publicKey;
  return {
    where,
    subject: parsed.subject.replaceAll('\n', ', '),
    validFrom: new Date(parsed.validFrom),
    validTo: new Date(parsed.validTo),
    keyType: key.asymmetricKeyType ?? 'unknown',
    keyBits: key.asymmetricKeyDetails?.modulusLength,
    curve: key.asymmetricKeyDetails?.namedCurve,
    signature: signatureOf(parsed),
  };
}

/** Object identifiers of signatures over MD5 and SHA-1, DER, as they stand in a certificate (RFC 3279, RFC 5758). */
const weakSignatures: readonly (readonly [string, string])[] = [
  ['06092a864886f70d010104', 'MD5 with RSA'],
  ['06092a864886f70d010105', 'SHA-1 with RSA'],
  ['06072a8648ce3d0401', 'SHA-1 with ECDSA'],
  ['06072a8648ce380403', 'SHA-1 with DSA'],
];

function signatureOf(certificate: X509Certificate): string {
  const hex = certificate.raw.toString('hex');
  return weakSignatures.find(([oid]) => hex.includes(oid))?.[1] ?? 'strong';
}

const dayMs = 86_400_000;

/** Pure. */
export function certificateFindings(facts: CertificateFacts, now: number, expiryWarningMs: number): Finding[] {
  const { where, subject } = facts;
  const found: Finding[] = [];
  const days = Math.floor((facts.validTo.getTime() - now) / dayMs);
  if (facts.validTo.getTime() <= now || facts.validFrom.getTime() > now) {
    found.push({
      check: 'certificate-invalid-now',
      severity: 'critical',
      where,
      what: `the certificate (${subject}) is valid from ${facts.validFrom.toISOString()} to ${facts.validTo.toISOString()}, not now`,
      why: 'whoever verifies it refuses the connection; whoever does not is open to anybody in the middle',
      remedy: 'renew the certificate, and check the clocks',
    });
  } else if (facts.validTo.getTime() - now < expiryWarningMs) {
    found.push({
      check: 'certificate-expires',
      severity: days < 3 ? 'high' : 'medium',
      where,
      what: `the certificate (${subject}) expires in ${days} days, at ${facts.validTo.toISOString()}`,
      why: 'from then on nothing connects',
      remedy: 'renew it',
    });
  }
  const isWeakRsa = (facts.keyType === 'rsa' || facts.keyType === 'dsa') && (facts.keyBits ?? 0) < 2_048;
  const isWeakCurve =
    facts.keyType === 'ec' && /^(secp(112|128|160|192)|prime192|sect(113|131|163|193)|c2pnb1)/.test(facts.curve ?? '');
  if (isWeakRsa || isWeakCurve) {
    found.push({
      check: 'certificate-weak-key',
      severity: 'high',
      where,
      what: `its key is too short: ${facts.keyType} ${facts.keyBits ?? facts.curve ?? ''}`,
      why: 'who computes the key reads and changes everything in between',
      remedy: 'use an EC key of 256 bits or RSA of 2048 and more',
    });
  }
  if (facts.signature !== 'strong') {
    found.push({
      check: 'certificate-weak-signature',
      severity: 'high',
      where,
      what: `it is signed by ${facts.signature}`,
      why: 'such a signature can be made to fit another certificate',
      remedy: 'have it signed with SHA-256 or better',
    });
  }
  return found;
}

/** A target that is reached without TLS. On this very machine it is no more than a note. */
export function plainTarget(connection: string, host: string): Finding {
  const isHere = host.startsWith('/') || isLoopbackHost(host);
  return {
    check: 'tls-disabled',
    severity: isHere ? 'info' : 'critical',
    where: `connection ${connection}: tls.mode`,
    what: `the target ${host} is reached without TLS`,
    why: isHere ? 'nothing leaves this machine' : 'passwords and raw rows travel in clear text',
    remedy: isHere ? 'nothing, as long as the target stays on this machine' : 'tls: { mode: verify-full }',
  };
}
