import { addressBlock } from '../../net/address-block.ts';
import { BoundedMap } from './bounded-map.ts';

export type Admission =
  /** `delayMs`: wait so long before looking at the password. */
  { readonly kind: 'admitted'; readonly delayMs: number; readonly familiar: boolean } | { readonly kind: 'refused' };

/** Who tries, and from where. */
export interface Attempt {
  readonly username: string;
  readonly remoteAddress: string;
  /** Of the certificate shown beside the password; null where none is asked for. */
  readonly certificateFingerprint: string | null;
}

/**
 * Slows down guessing of passwords and codes. Four counters, each a leaky bucket that forgets a
 * failure every so often, and one memory of who has logged in from where:
 *
 *   (user, place)    5 free failures, then a pause of 1, 2, 4 … 60 s: refused until it is over,
 *                    which leaves a guesser two tries a minute. A place is an address (IPv6: a /64)
 *                    and the certificate shown: behind one address nobody pauses another's.
 *   address          20 free failures, then the same pauses: one address can't try many users. For
 *                    IPv6 a /48, which anybody can have for the asking. Users known from their place
 *                    are exempt: a bad neighbour locks out no one.
 *   user             10 free failures from unfamiliar places, then each further try from such a
 *                    place waits 1, 2, 4, 8 s, and is then looked at. Never refused: a stranger
 *                    with many addresses can make a newcomer wait, not keep the user out.
 *   codes of a user  5 free failures from unfamiliar places, then the same pauses, for who knows the
 *                    password: many addresses at once would else find one of a million codes.
 *
 * A try is charged when it is admitted and refunded when it succeeds, so that tries side by side
 * gain nothing. Unknown users are counted like known ones. Memory is bounded: the entry not
 * touched for longest goes.
 */
export class LoginThrottle {
  readonly #pairs = new BoundedMap<Bucket>(MAX_ENTRIES);
  readonly #addresses = new BoundedMap<Bucket>(MAX_ENTRIES);
  readonly #users = new BoundedMap<Bucket>(MAX_ENTRIES);
  readonly #codes = new BoundedMap<Bucket>(MAX_ENTRIES);
  readonly #familiar = new BoundedMap<true>(MAX_ENTRIES);
  #lastWallNow = -Infinity;
  #setBackMs = 0;

  /** @param wallNow ms of any clock; when it is set back, pauses last as long as they would have. */
  admit(attempt: Attempt, wallNow: number): Admission {
    const now = this.#forward(wallNow);
    const pairKey = pairKeyOf(attempt);
    const familiar = this.#familiar.get(pairKey) !== undefined;
    const pair = bucketAt(this.#pairs, pairKey, now);
    const address = bucketAt(this.#addresses, siteOf(attempt), now);
    if (now < pair.pausedUntil || (!familiar && now < address.pausedUntil)) return { kind: 'refused' };
    charge(pair, PAIR_FREE, now);
    if (familiar) return { kind: 'admitted', delayMs: 0, familiar };
    charge(address, ADDRESS_FREE, now);
    const account = bucketAt(this.#users, attempt.username, now);
    charge(account, USER_FREE, now);
    const delayMs = Math.min(account.pausedUntil - now, MAX_DELAY_MS);
    return { kind: 'admitted', delayMs, familiar };
  }

  /** Whether the code of an admitted try, whose password was right, may be looked at. */
  admitCode({ username }: Attempt, admission: Admitted, wallNow: number): boolean {
    if (admission.familiar) return true;
    const now = this.#forward(wallNow);
    const codes = bucketAt(this.#codes, username, now);
    if (now < codes.pausedUntil) return false;
    charge(codes, CODE_FREE, now);
    return true;
  }

  /** Takes back what the admitted try was charged, and remembers that the user comes from there. */
  succeeded(attempt: Attempt, admission: Admitted): void {
    this.notTried(attempt, admission);
    const pairKey = pairKeyOf(attempt);
    this.#pairs.delete(pairKey);
    this.#familiar.set(pairKey, true);
    if (!admission.familiar) refund(this.#codes.get(attempt.username), CODE_FREE);
  }

  /** Takes back the charge of an admitted try whose password was never looked at. */
  notTried(attempt: Attempt, admission: Admitted): void {
    refund(this.#pairs.get(pairKeyOf(attempt)), PAIR_FREE);
    if (admission.familiar) return;
    refund(this.#addresses.get(siteOf(attempt)), ADDRESS_FREE);
    refund(this.#users.get(attempt.username), USER_FREE);
  }

  #forward(wallNow: number): number {
    if (wallNow < this.#lastWallNow) this.#setBackMs += this.#lastWallNow - wallNow;
    this.#lastWallNow = wallNow;
    return wallNow + this.#setBackMs;
  }
}

type Admitted = Extract<Admission, { kind: 'admitted' }>;

function pairKeyOf({ username, remoteAddress, certificateFingerprint }: Attempt): string {
  return `${addressBlock(remoteAddress, 32, 64)} ${certificateFingerprint ?? ''} ${username}`;
}

function siteOf({ remoteAddress }: Attempt): string {
  return addressBlock(remoteAddress, 32, 48);
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
const CODE_FREE = 5;
const PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;
// Below every client's patience (60 s from the start of the handshake).
const MAX_DELAY_MS = 8_000;
const MAX_DOUBLINGS = 6;
const FORGET_MS = 30_000;
