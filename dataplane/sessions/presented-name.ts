import { X509Certificate } from 'node:crypto';
import type { PresentedCertificate } from '../../api/authentication.ts';

/** The common name a client's certificate claims, for records of failed logins; empty without one. Proves nothing. */
export function commonNameOf(certificate: PresentedCertificate | null): string {
  const leaf = certificate?.chain[0];
  if (leaf === undefined) return '';
  try {
    const line = new X509Certificate(leaf).subject.split('\n').find((part) => part.startsWith('CN='));
    return (line ?? '')
      .slice('CN='.length)
      .replaceAll(/\p{Cc}/gu, '')
      .slice(0, MAX_CHARACTERS);
  } catch {
    // Not a certificate at all: the login will be refused, and has no name until then.
    return '';
  }
}

const MAX_CHARACTERS = 256;
