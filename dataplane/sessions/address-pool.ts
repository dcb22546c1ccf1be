import { formatIpv4, parseIpv4, type Ipv4 } from '../../net/ipv4.ts';
import { prefixContainsAddress, prefixSize, type Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import { type DataPlaneMemory, LEASES_TOLD_MOST } from '../process-messages.ts';

type Lease = DataPlaneMemory['leases'][number];

/** The gateway's own tunnel address: the first host of the client range. */
export function gatewayAddressOf(clientCidr: Ipv4Prefix): Ipv4 {
  return clientCidr.address + 1;
}

/**
 * Leases the addresses of the client range, network, broadcast and gateway addresses apart.
 *
 *   an identity's own last address, if nobody holds it
 *   → an address never used → the one freed longest ago
 *
 * So an address rests as long as the range allows, and replies to old connections, which the kernel still
 * tracks, do not reach a newcomer.
 */
export class AddressPool {
  readonly #range: Ipv4Prefix;
  readonly #held = new Map<Ipv4, string>();
  /** Oldest first: a re-inserted key moves to the end. */
  readonly #freed = new Map<Ipv4, { readonly identity: string; readonly at: number }>();
  readonly #lastAddress = new Map<string, Ipv4>();
  #cursor = 0;
  #revision = 0;

  constructor(range: Ipv4Prefix) {
    this.#range = range;
  }

  get capacity(): number {
    return prefixSize(this.#range) - RESERVED;
  }

  get used(): number {
    return this.#held.size;
  }

  /** Another number after each change of what `export` returns. */
  get revision(): number {
    return this.#revision;
  }

  /** @returns the address, or undefined when every one is held. */
  lease(identity: string): Ipv4 | undefined {
    const address = this.#ownAddress(identity) ?? this.#neverUsed() ?? this.#longestFreed();
    if (address === undefined) return undefined;
    this.#revision += 1;
    this.#forget(address);
    this.#held.set(address, identity);
    if (!this.#holdsItsAddress(identity)) this.#lastAddress.set(identity, address);
    return address;
  }

  free(address: Ipv4, now: number): void {
    const identity = this.#held.get(address);
    if (identity === undefined) return;
    this.#revision += 1;
    this.#held.delete(address);
    this.#freed.set(address, { identity, at: now });
    if (!this.#lastAddress.has(identity)) this.#lastAddress.set(identity, address);
  }

  /**
   * What must survive a restart, at most `most`: of those freed longest ago, none. `wallOffset` is wall clock minus `now`, ms.
   */
  export(wallOffset: number, most = LEASES_TOLD_MOST): readonly Lease[] {
    const leases: Lease[] = [];
    for (const [address, identity] of this.#held)
      leases.push({ identity, address: formatIpv4(address), freedAt: null });
    let surplus = this.#held.size + this.#freed.size - most;
    for (const [address, { identity, at }] of this.#freed) {
      surplus -= 1;
      if (surplus < 0) leases.push({ identity, address: formatIpv4(address), freedAt: Math.round(at + wallOffset) });
    }
    return leases.slice(0, most);
  }

  /** Takes up what an earlier process left; what it still held counts as freed now. Foreign addresses are passed over. */
  restore(leases: readonly Lease[], now: number, wallOffset: number): void {
    const freed = leases
      .map((lease) => ({ ...lease, at: lease.freedAt === null ? now : Math.min(now, lease.freedAt - wallOffset) }))
      .sort((a, b) => a.at - b.at);
    for (const { identity, address: text, at } of freed) {
      const address = parseIpv4(text);
      if (address === undefined || !this.#isLeasable(address) || this.#held.has(address)) continue;
      this.#revision += 1;
      this.#freed.delete(address);
      this.#freed.set(address, { identity, at });
      this.#lastAddress.set(identity, address);
    }
  }

  #ownAddress(identity: string): Ipv4 | undefined {
    const address = this.#lastAddress.get(identity);
    if (address === undefined || this.#held.has(address)) return undefined;
    return this.#freed.get(address)?.identity === identity ? address : undefined;
  }

  /** The sticky address stays with the first session while others of the same identity come and go. */
  #holdsItsAddress(identity: string): boolean {
    const address = this.#lastAddress.get(identity);
    return address !== undefined && this.#held.get(address) === identity;
  }

  #neverUsed(): Ipv4 | undefined {
    while (this.#cursor < this.capacity) {
      const address = this.#range.address + FIRST_HOST + this.#cursor;
      if (!this.#held.has(address) && !this.#freed.has(address)) return address;
      this.#cursor += 1;
    }
    return undefined;
  }

  #longestFreed(): Ipv4 | undefined {
    for (const address of this.#freed.keys()) return address;
    return undefined;
  }

  #forget(address: Ipv4): void {
    const last = this.#freed.get(address);
    this.#freed.delete(address);
    if (last !== undefined && this.#lastAddress.get(last.identity) === address) this.#lastAddress.delete(last.identity);
  }

  #isLeasable(address: Ipv4): boolean {
    const index = address - this.#range.address;
    return prefixContainsAddress(this.#range, address) && index >= FIRST_HOST && index < FIRST_HOST + this.capacity;
  }
}

/** After the network address and the gateway's. */
const FIRST_HOST = 2;
/** Network, gateway, broadcast. */
const RESERVED = 3;
