import { hash } from 'node:crypto';
import type { PresentedCertificate } from '../../api/authentication.ts';
import type { CertificateDenial } from '../../api/denial-reasons.ts';
import type { CertificateReference } from '../../api/revocation-lookup.ts';
import { certificateFields, type CertificateFields, type CertificateKey } from './certificate-fields.ts';

/** What a good client certificate says. */
export interface CertificateIdentity {
  readonly commonName: string;
  /** Upper-case hex SHA-256, leaf first. */
  readonly fingerprints: readonly string[];
  readonly leaf: CertificateReference;
  /** The leaf and what TLS showed of the certificates above it. */
  readonly chain: readonly CertificateReference[];
  /** Whether the chain reaches a certificate that is its own issuer. */
  readonly isComplete: boolean;
}

export type CertificateCheck =
  | { readonly ok: true; readonly identity: CertificateIdentity }
  | { readonly ok: false; readonly reason: CertificateDenial };

/**
 * Judges a client certificate beyond what TLS verified: validity at `now` (ms since 1970), client
 * usage, key strength and a common name fit to be an identity. Revocation is asked elsewhere.
 */
export function checkCertificate(presented: PresentedCertificate | null, now: number): CertificateCheck {
  if (presented?.chain[0] === undefined) return refused('no-certificate');
  if (presented.authorizationError !== null) return refused(reasonOfTlsError(presented.authorizationError));
  const [leafDer, ...above] = presented.chain;
  const leaf = certificateFields(leafDer);
  const authorities = above.map(authorityFrom).filter((item) => item !== undefined);
  if (leaf === undefined || authorities.length !== above.length) return refused('certificate-malformed');
  if (now < leaf.notBefore) return refused('certificate-not-yet-valid');
  if (now >= leaf.notAfter) return refused('certificate-expired');
  if (!leaf.extendedKeyUsages.includes(CLIENT_AUTH) || leaf.isAuthority) return refused('certificate-wrong-usage');
  if (!isStrongKey(leaf.key)) return refused('certificate-weak-key');
  // The last one is the most specific; the stock server takes it too.
  const commonName = leaf.commonNames.at(-1);
  if (commonName === undefined || commonName === '') return refused('certificate-without-common-name');
  if (commonName === null || commonName.length > MAX_COMMON_NAME || UNCLEAN.test(commonName)) {
    return refused('certificate-common-name-invalid');
  }
  const top = authorities.at(-1)?.fields ?? leaf;
  const reference = referenceOf(leaf);
  return {
    ok: true,
    identity: {
      commonName,
      fingerprints: [fingerprintOf(leafDer), ...authorities.map(({ fingerprint }) => fingerprint)],
      leaf: reference,
      chain: [reference, ...authorities.map((authority) => authority.reference)],
      isComplete: Buffer.from(top.issuer).equals(top.subject),
    },
  };
}

/** A certificate above the leaf. Every client shows the same few: each is read once, and known by all of its bytes. */
interface Authority {
  readonly der: Uint8Array;
  readonly fields: CertificateFields;
  readonly fingerprint: string;
  readonly reference: CertificateReference;
}

const seenAuthorities: Authority[] = [];

function authorityFrom(der: Uint8Array): Authority | undefined {
  const seen = seenAuthorities.find((authority) => Buffer.compare(authority.der, der) === 0);
  if (seen !== undefined) return seen;
  const copy = der.slice();
  const fields = certificateFields(copy);
  if (fields === undefined) return undefined;
  const authority = { der: copy, fields, fingerprint: fingerprintOf(copy), reference: referenceOf(fields) };
  if (seenAuthorities.push(authority) > SEEN_MOST) seenAuthorities.shift();
  return authority;
}

function refused(reason: CertificateDenial): CertificateCheck {
  return { ok: false, reason };
}

function reasonOfTlsError(error: string): CertificateDenial {
  return TLS_REASONS.get(error) ?? 'certificate-not-verified';
}

function isStrongKey(key: CertificateKey): boolean {
  return key.kind === 'rsa' ? key.bits >= MIN_RSA_BITS : key.kind === 'ec' && CURVES.has(key.curve);
}

function referenceOf(fields: CertificateFields): CertificateReference {
  return { issuerNameHash: fingerprintOf(fields.issuer), serial: fields.serial };
}

function fingerprintOf(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex').toUpperCase();
}

const SEEN_MOST = 16;
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const MIN_RSA_BITS = 2048;
/** P-256, P-384 and P-521. */
const CURVES: ReadonlySet<string> = new Set(['1.2.840.10045.3.1.7', '1.3.132.0.34', '1.3.132.0.35']);
// The upper bound of X.520, and of what the stock server takes.
const MAX_COMMON_NAME = 64;
/** Control, format, surrogate and line-separating characters: nobody can see them, and logs would obey them. */
const UNCLEAN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

const TLS_REASONS: ReadonlyMap<string, CertificateDenial> = new Map([
  ['CERT_HAS_EXPIRED', 'certificate-expired'],
  ['CERT_NOT_YET_VALID', 'certificate-not-yet-valid'],
  ['INVALID_PURPOSE', 'certificate-wrong-usage'],
  ['EE_KEY_TOO_SMALL', 'certificate-weak-key'],
  ['CA_KEY_TOO_SMALL', 'certificate-weak-key'],
  ['CA_MD_TOO_WEAK', 'certificate-weak-key'],
  ['UNABLE_TO_GET_ISSUER_CERT', 'certificate-of-unknown-authority'],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'certificate-of-unknown-authority'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'certificate-of-unknown-authority'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'certificate-of-unknown-authority'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'certificate-of-unknown-authority'],
  ['CERT_SIGNATURE_FAILURE', 'certificate-of-unknown-authority'],
]);
