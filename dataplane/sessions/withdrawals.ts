import type { Identity } from '../../api/authentication.ts';
import { GROUPS_PER_USER, type SecretMaterial } from '../../api/data-plane-config.ts';
import type { SnapshotAuthentication } from '../../api/endpoint-snapshot.ts';
import { isRevoked, revocationIndexOf, type RevocationIndex } from '../../api/revocation-lookup.ts';

/** Why somebody may not be connected any more. */
export type Withdrawal = 'certificate-revoked' | 'user-removed';

/** Looks identities up in one configuration's revocation lists and users. */
export class Withdrawals {
  readonly #lists: readonly RevocationIndex[];
  /** Null without a provider whose users we know. */
  readonly #groupsOfUser: ReadonlyMap<string, readonly string[]> | null;

  constructor(secrets: SecretMaterial, authentication: SnapshotAuthentication) {
    const { revocation } = secrets;
    this.#lists = revocation.kind === 'List' ? revocation.lists.map(revocationIndexOf) : [];
    const isLocal = authentication.identityProvider?.type === 'Local' && secrets.localUsers !== null;
    this.#groupsOfUser = isLocal
      ? new Map(secrets.localUsers?.users.map((user) => [user.name, user.groups.slice(0, GROUPS_PER_USER)] as const))
      : null;
  }

  /** Why this identity may not be connected any more, or undefined. */
  reasonFor(identity: Identity): Withdrawal | undefined {
    const { certificateSerial } = identity;
    if (certificateSerial !== null && isRevoked(this.#lists, certificateSerial)) return 'certificate-revoked';
    if (this.#groupsOfUser !== null && !this.#groupsOfUser.has(identity.username)) return 'user-removed';
    return undefined;
  }

  /** The identity with its groups as they are now: they may have changed since its login was granted. */
  current(identity: Identity): Identity {
    return { ...identity, groups: this.groupsOf(identity) ?? identity.groups };
  }

  /** The user's groups now, or undefined where they are known only at a login. */
  groupsOf(identity: Identity): readonly string[] | undefined {
    return this.#groupsOfUser?.get(identity.username);
  }
}
