import type { RevocationMaterial } from '../../api/data-plane-config.ts';
import {
  isRevoked,
  revocationIndexOf,
  type CertificateReference,
  type RevocationIndex,
} from '../../api/revocation-lookup.ts';

/**
 * The revocation lists in force.
 *
 * An unusable or expired list refuses logins, not renewals: those who are connected proved
 * themselves while it held. A serial it names is refused in either case. An issuer without a list
 * of its own is not restricted, so that a bundle of an old and a new CA works with the old one's list.
 */
export class RevocationCheck {
  readonly #lists: readonly RevocationIndex[];
  readonly #unusable: boolean;

  constructor(material: RevocationMaterial) {
    this.#lists = material.kind === 'List' ? material.lists.map(revocationIndexOf) : [];
    this.#unusable = material.kind === 'Unusable';
  }

  /** @returns why the chain is refused at `now` (ms since 1970), or null. */
  reasonToRefuse(
    chain: readonly CertificateReference[],
    purpose: 'login' | 'renewal',
    now: number,
  ): 'certificate-revoked' | 'revocation-list-expired' | 'revocation-list-unusable' | null {
    if (chain.some((certificate) => isRevoked(this.#lists, certificate))) return 'certificate-revoked';
    if (purpose === 'renewal') return null;
    if (this.#unusable) return 'revocation-list-unusable';
    if (this.#lists.some((list) => list.nextUpdate !== null && now >= list.nextUpdate))
      return 'revocation-list-expired';
    return null;
  }
}
