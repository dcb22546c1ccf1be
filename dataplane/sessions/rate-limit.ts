import { addressBlock } from '../../net/address-block.ts';

/** Lets `perSecond` through on average and `burst` at once. Time comes with each call. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at: number | undefined;

  constructor(perSecond: number, burst: number) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#tokens = burst;
  }

  take(now: number): boolean {
    const since = this.#at === undefined ? 0 : now - this.#at;
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, since) * this.#perMs);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

/**
 * Counts per network and second in a table of fixed size: no address a stranger invents costs memory. Two networks
 * in one cell share its allowance; which ones do depends on a secret, so nobody can choose to starve another.
 */
export class NetworkLimit {
  readonly #perNetwork: number;
  readonly #total: number;
  readonly #salt: number;
  readonly #counts = new Uint16Array(CELLS);
  #taken = 0;
  #second = -1;

  constructor(perNetwork: number, total: number, salt: number) {
    this.#perNetwork = perNetwork;
    this.#total = total;
    this.#salt = salt;
  }

  take(address: string, now: number): boolean {
    this.#turn(now);
    const cell = this.#cell(address);
    if (this.#taken >= this.#total || this.#counts[cell] >= this.#perNetwork) return false;
    this.#taken += 1;
    this.#counts[cell] += 1;
    return true;
  }

  /** What was taken turned out to be no flood: of thousands that come at once each gives its place to the next. */
  refund(address: string, now: number): void {
    this.#turn(now);
    const cell = this.#cell(address);
    if (this.#counts[cell] > 0) this.#counts[cell] -= 1;
    if (this.#taken > 0) this.#taken -= 1;
  }

  #turn(now: number): void {
    const second = Math.floor(now / 1000);
    if (second === this.#second) return;
    this.#second = second;
    this.#taken = 0;
    this.#counts.fill(0);
  }

  /** FNV-1a over the network part, mixed with the secret. */
  #cell(address: string): number {
    let hash = (0x811c9dc5 ^ this.#salt) >>> 0;
    for (const character of networkOf(address)) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193) >>> 0;
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
    return ((hash ^ (hash >>> 13)) >>> 0) % CELLS;
  }
}

/** The /24 of an IPv4 address, the /56 of an IPv6 address, as text that is equal for equal networks. */
export function networkOf(address: string): string {
  return addressBlock(address, 24, 56);
}

const CELLS = 65_536;
