import type { RevocationMaterial } from '../../api/data-plane-config.ts';
import type { CertificateDenial } from '../../api/denial-reasons.ts';
import { isRevoked, revocationIndexOf, type RevocationIndex } from '../../api/revocation-lookup.ts';
import type { CertificateIdentity } from './certificate.ts';

/**
 * The revocation lists in force.
 *
 * An unusable or expired list refuses logins, not renewals: those who are connected proved
 * themselves while it held. A serial it names is refused in either case. An issuer without a list
 * of its own is not restricted, so that a bundle of an old and a new CA works with the old one's list.
 *
 * Node up to 24.21 hides intermediates that only the client sent (nodejs/node#65579): a list could
 * name one unseen, so such a chain is refused. In the client CA bundle they are seen.
 */
export class RevocationCheck {
  readonly #lists: readonly RevocationIndex[];
  readonly #unusable: boolean;

  constructor(material: RevocationMaterial) {
    this.#lists = material.kind === 'List' ? material.lists.map(revocationIndexOf) : [];
    this.#unusable = material.kind === 'Unusable';
  }

  /** @returns why the certificate is refused at `now` (ms since 1970), or null. */
  reasonToRefuse(
    certificate: Pick<CertificateIdentity, 'chain' | 'isComplete'>,
    purpose: 'login' | 'renewal',
    now: number,
  ): CertificateDenial | null {
    if (certificate.chain.some((reference) => isRevoked(this.#lists, reference))) return 'certificate-revoked';
    if (purpose === 'renewal') return null;
    if (this.#unusable) return 'revocation-list-unusable';
    if (this.#lists.some((list) => list.nextUpdate !== null && now >= list.nextUpdate))
      return 'revocation-list-expired';
    return this.#lists.length > 0 && !certificate.isComplete ? 'certificate-issuer-unseen' : null;
  }
}
