import type { Identity } from '../../api/authentication.ts';
import type { RevocationMaterial, SecretMaterial } from '../../api/data-plane-config.ts';
import type { SnapshotAuthentication } from '../../api/endpoint-snapshot.ts';

/** Looks identities up in one configuration's revocation lists and users. */
export class Withdrawals {
  readonly #lists: ReadonlyMap<string, SerialList>;
  /** Null without a provider whose users we know. */
  readonly #groupsOfUser: ReadonlyMap<string, readonly string[]> | null;

  constructor(secrets: SecretMaterial, authentication: SnapshotAuthentication) {
    this.#lists = listsFrom(secrets.revocation);
    const isLocal = authentication.identityProvider?.type === 'Local' && secrets.localUsers !== null;
    this.#groupsOfUser = isLocal
      ? new Map(secrets.localUsers?.users.map((user) => [user.name, user.groups] as const))
      : null;
  }

  /** Why this identity may not be connected any more, or undefined. */
  reasonFor(identity: Identity): 'certificate revoked' | 'user removed' | undefined {
    const { certificateSerial } = identity;
    if (certificateSerial !== null && this.#lists.get(certificateSerial.issuerNameHash)?.has(certificateSerial.serial))
      return 'certificate revoked';
    if (this.#groupsOfUser !== null && !this.#groupsOfUser.has(identity.username)) return 'user removed';
    return undefined;
  }

  /** The user's groups now, or undefined where they are known only at a login. */
  groupsOf(identity: Identity): readonly string[] | undefined {
    return this.#groupsOfUser?.get(identity.username);
  }
}

/** Serials of one issuer as packed by the sender: ascending, each right-aligned in `width` bytes. */
class SerialList {
  readonly #bytes: Uint8Array;
  readonly #width: number;

  constructor(bytes: Uint8Array, width: number) {
    this.#bytes = bytes;
    this.#width = width;
  }

  /** @param serial upper-case hex */
  has(serial: string): boolean {
    const wanted = packed(serial, this.#width);
    if (wanted === undefined) return false;
    let low = 0;
    let high = this.#width === 0 ? 0 : Math.floor(this.#bytes.length / this.#width);
    while (low < high) {
      const middle = (low + high) >> 1;
      const order = this.#compare(middle, wanted);
      if (order === 0) return true;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return false;
  }

  #compare(index: number, wanted: Uint8Array): number {
    const start = index * this.#width;
    for (let at = 0; at < this.#width; at += 1) {
      const difference = this.#bytes[start + at] - wanted[at];
      if (difference !== 0) return difference;
    }
    return 0;
  }
}

function listsFrom(revocation: RevocationMaterial): ReadonlyMap<string, SerialList> {
  if (revocation.kind !== 'List') return new Map();
  return new Map(
    revocation.lists.map((list) => [
      list.issuerNameHash,
      new SerialList(
        Uint8Array.from(atob(list.serials), (byte) => byte.charCodeAt(0)),
        list.serialBytes,
      ),
    ]),
  );
}

function packed(serial: string, width: number): Uint8Array | undefined {
  const digits = serial.replace(/^0+/, '');
  const hex = digits.length % 2 === 0 ? digits : `0${digits}`;
  const bytes = hex.length / 2;
  if (bytes > width) return undefined;
  const out = new Uint8Array(width);
  for (let at = 0; at < bytes; at += 1) out[width - bytes + at] = Number.parseInt(hex.slice(at * 2, at * 2 + 2), 16);
  return out;
}
