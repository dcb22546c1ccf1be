import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import type {
  CertificateFacts,
  ClientCaFacts,
  ServerCertificateFacts,
  ServerCertificateState,
} from '../../api/secret-facts.ts';

/**
 * Reads a server certificate with its key as a Secret holds them.
 *
 * @param now milliseconds since 1970
 */
export function serverCertificateFacts(certificatePem: string, keyPem: string, now: number): ServerCertificateFacts {
  const [leaf] = certificatesIn(certificatePem) ?? [];
  if (leaf === undefined) return unreadable('tls.crt holds no PEM certificate');
  const key = privateKeyOf(keyPem);
  if (key === undefined) return unreadable('tls.key holds no unencrypted PEM private key');
  const certificate = factsOf(leaf);
  const state = stateOf(leaf, key, certificate, now);
  return { state, message: messageOf(state, certificate), certificate };
}

/**
 * Reads a bundle of CA certificates that client certificates are verified against.
 *
 * @param now milliseconds since 1970
 */
export function clientCaFacts(bundlePem: string, now: number): ClientCaFacts {
  const all = certificatesIn(bundlePem);
  if (all === undefined || all.length === 0) {
    return { state: 'ParseError', message: 'ca.crt holds no readable PEM certificate', certificates: [] };
  }
  const stranger = all.find((certificate) => !certificate.ca);
  const certificates = all.map(factsOf);
  if (stranger !== undefined) {
    return { state: 'ParseError', message: `${oneLine(stranger.subject)} is not a CA certificate`, certificates };
  }
  if (certificates.some((item) => item.notBefore <= now && now < item.notAfter)) {
    return { state: 'Valid', message: `${certificates.length} CA certificate(s)`, certificates };
  }
  const anyToCome = certificates.some((item) => item.notBefore > now);
  return {
    state: anyToCome ? 'ClientCANotYetValid' : 'ClientCAExpired',
    message: `No CA certificate of the bundle is valid now`,
    certificates,
  };
}

/** The certificates of a PEM text, in order; undefined when one of its blocks can't be read. */
export function certificatesIn(pem: string): readonly X509Certificate[] | undefined {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length > MAX_CERTIFICATES || pem.length > MAX_PEM_CHARACTERS) return undefined;
  try {
    const certificates = blocks.map((block) => new X509Certificate(block));
    return certificates.every(isUsable) ? certificates : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the dates are dates. Throws, like the parser, for a key that can't be read. */
function isUsable({ validFromDate, validToDate, publicKey }: X509Certificate): boolean {
  return publicKey.type === 'public' && !Number.isNaN(validFromDate.getTime()) && !Number.isNaN(validToDate.getTime());
}

function stateOf(leaf: X509Certificate, key: KeyObject, facts: CertificateFacts, now: number): ServerCertificateState {
  if (!leaf.checkPrivateKey(key)) return 'KeyMismatch';
  if (!isStrongKey(leaf.publicKey)) return 'WeakKey';
  if (!(leaf.keyUsage ?? []).includes(SERVER_AUTH) || !leaf.raw.includes(KEY_USAGE)) return 'MissingServerAuthEKU';
  if (now < facts.notBefore) return 'NotYetValid';
  if (now >= facts.notAfter) return 'Expired';
  return facts.notAfter - now < EXPIRING_SOON_MS ? 'ExpiringSoon' : 'Valid';
}

function messageOf(state: ServerCertificateState, facts: CertificateFacts): string {
  const until = new Date(facts.notAfter).toISOString();
  switch (state) {
    case 'Valid':
      return `${facts.subject}, until ${until}`;
    case 'ExpiringSoon':
      return `${facts.subject} ends on ${until}`;
    case 'Expired':
      return `${facts.subject} ended on ${until}`;
    case 'NotYetValid':
      return `${facts.subject} starts on ${new Date(facts.notBefore).toISOString()}`;
    case 'KeyMismatch':
      return `tls.key is not the key of ${facts.subject}`;
    case 'WeakKey':
      return `${facts.subject} needs RSA with 2048 bits or more, or EC on P-256, P-384 or P-521`;
    case 'MissingServerAuthEKU':
      return `${facts.subject} needs a key usage and the extended key usage serverAuth: clients refuse it without either`;
    case 'ParseError':
      return 'unreadable';
  }
}

function factsOf(certificate: X509Certificate): CertificateFacts {
  return {
    subject: oneLine(certificate.subject),
    sans: (certificate.subjectAltName ?? '')
      .split(', ')
      .filter((name) => name !== '')
      .map((name) => name.replace(/^IP Address:/, 'IP:')),
    notBefore: certificate.validFromDate.getTime(),
    notAfter: certificate.validToDate.getTime(),
    fingerprint: certificate.fingerprint256.replaceAll(':', ''),
  };
}

function oneLine(subject: string | undefined): string {
  return (
    (subject ?? '')
      .split('\n')
      .filter((part) => part !== '')
      .join(', ') || '(no subject)'
  );
}

function privateKeyOf(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}

function isStrongKey(key: KeyObject): boolean {
  const details = key.asymmetricKeyDetails;
  const type = key.asymmetricKeyType;
  if (type === 'rsa' || type === 'rsa-pss') return (details?.modulusLength ?? 0) >= 2048;
  return type === 'ec' && CURVES.has(details?.namedCurve ?? '');
}

function unreadable(message: string): ServerCertificateFacts {
  return { state: 'ParseError', message, certificate: null };
}

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
/** The extension's id, 2.5.29.15, in DER. Node's `keyUsage` is the extended one; `remote-cert-tls` wants both. */
const KEY_USAGE = Buffer.from('0603551d0f', 'hex');
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);
const EXPIRING_SOON_MS = 30 * 86_400_000;
const MAX_CERTIFICATES = 100;
const MAX_PEM_CHARACTERS = 1_048_576;
