import { BoundedMap } from './bounded-map.ts';

export type Admission =
  /** `delayMs`: wait so long before looking at the password. */
  { readonly kind: 'admitted'; readonly delayMs: number; readonly familiar: boolean } | { readonly kind: 'refused' };

/**
 * Slows down guessing of passwords and codes. Three counters, each a leaky bucket that forgets a
 * failure every so often, and one memory of who has logged in from where:
 *
 *   (user, address)  5 free failures, then a pause of 1, 2, 4 … 60 s: refused until it is over,
 *                    which leaves a guesser two tries a minute.
 *   address          20 free failures, then the same pauses: one address can't try many users.
 *                    Users known from that address are exempt: a bad neighbour locks out no one.
 *   user             10 free failures from unfamiliar addresses, then each further try from such an
 *                    address waits 1, 2, 4, 8 s, and is then looked at. Never refused: a stranger
 *                    with many addresses can make a newcomer wait, not keep the user out.
 *
 * A try is charged when it is admitted and refunded when it succeeds, so that tries side by side
 * gain nothing. Unknown users are counted like known ones. Memory is bounded: the entry not
 * touched for longest goes.
 */
export class LoginThrottle {
  readonly #pairs = new BoundedMap<Bucket>(MAX_ENTRIES);
  readonly #addresses = new BoundedMap<Bucket>(MAX_ENTRIES);
  readonly #users = new BoundedMap<Bucket>(MAX_ENTRIES);
  readonly #familiar = new BoundedMap<true>(MAX_ENTRIES);
  #lastWallNow = -Infinity;
  #setBackMs = 0;

  /** @param wallNow ms of any clock; when it is set back, pauses last as long as they would have. */
  admit(username: string, remoteAddress: string, wallNow: number): Admission {
    const now = this.#forward(wallNow);
    const address = addressGroup(remoteAddress);
    const pairKey = `${address} ${username}`;
    const familiar = this.#familiar.get(pairKey) !== undefined;
    const pair = bucketAt(this.#pairs, pairKey, now);
    const place = bucketAt(this.#addresses, address, now);
    if (now < pair.pausedUntil || (!familiar && now < place.pausedUntil)) return { kind: 'refused' };
    charge(pair, PAIR_FREE, now);
    if (familiar) return { kind: 'admitted', delayMs: 0, familiar };
    charge(place, ADDRESS_FREE, now);
    const account = bucketAt(this.#users, username, now);
    charge(account, USER_FREE, now);
    const delayMs = Math.min(account.pausedUntil - now, MAX_DELAY_MS);
    return { kind: 'admitted', delayMs, familiar };
  }

  #forward(wallNow: number): number {
    if (wallNow < this.#lastWallNow) this.#setBackMs += this.#lastWallNow - wallNow;
    this.#lastWallNow = wallNow;
    return wallNow + this.#setBackMs;
  }

  /** Takes back what the admitted try was charged, and remembers that the user comes from there. */
  succeeded(username: string, remoteAddress: string, admission: Extract<Admission, { kind: 'admitted' }>): void {
    this.notTried(username, remoteAddress, admission);
    const pairKey = `${addressGroup(remoteAddress)} ${username}`;
    this.#pairs.delete(pairKey);
    this.#familiar.set(pairKey, true);
  }

  /** Takes back the charge of an admitted try whose password was never looked at. */
  notTried(username: string, remoteAddress: string, admission: Extract<Admission, { kind: 'admitted' }>): void {
    const address = addressGroup(remoteAddress);
    refund(this.#pairs.get(`${address} ${username}`), PAIR_FREE);
    if (admission.familiar) return;
    refund(this.#addresses.get(address), ADDRESS_FREE);
    refund(this.#users.get(username), USER_FREE);
  }
}

/** IPv4 addresses one by one, IPv6 by /64: that much a subscriber has at will. */
export function addressGroup(address: string): string {
  const mapped = /^::ffff:([0-9.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  const [head, tail] = address.toLowerCase().split('%')[0].split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0');
  const groups = [...left, ...zeros, ...right].slice(0, 4).map((group) => group.replace(/^0+(?=.)/, ''));
  return `${groups.join(':')}::/64`;
}

interface Bucket {
  failures: number;
  touchedAt: number;
  pausedUntil: number;
}

function bucketAt(map: BoundedMap<Bucket>, key: string, now: number): Bucket {
  const bucket = map.get(key) ?? { failures: 0, touchedAt: now, pausedUntil: 0 };
  const forgotten = Math.floor((now - bucket.touchedAt) / FORGET_MS);
  if (forgotten > 0) {
    bucket.failures = Math.max(0, bucket.failures - forgotten);
    bucket.touchedAt += forgotten * FORGET_MS;
  }
  map.set(key, bucket);
  return bucket;
}

function charge(bucket: Bucket, free: number, now: number): void {
  // Capped, so that a long attack is forgotten within a quarter of an hour of its end.
  bucket.failures = Math.min(bucket.failures + 1, free + MAX_DOUBLINGS + 1);
  const excess = bucket.failures - free;
  bucket.pausedUntil = excess > 0 ? now + Math.min(PAUSE_MS * 2 ** (excess - 1), MAX_PAUSE_MS) : now;
}

function refund(bucket: Bucket | undefined, free: number): void {
  if (bucket === undefined) return;
  bucket.failures = Math.max(0, bucket.failures - 1);
  if (bucket.failures <= free) bucket.pausedUntil = 0;
}

const MAX_ENTRIES = 10_000;
const PAIR_FREE = 5;
const ADDRESS_FREE = 20;
const USER_FREE = 10;
const PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;
// Below every client's patience (60 s from the start of the handshake).
const MAX_DELAY_MS = 8_000;
const MAX_DOUBLINGS = 6;
const FORGET_MS = 30_000;
