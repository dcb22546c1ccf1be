import { randomFillSync } from 'node:crypto';

/** Random bytes by the handful: one call for each costs ten times as much as drawing many at once. */
export class RandomPool {
  readonly #pool = new Uint8Array(POOL_BYTES);
  #used = POOL_BYTES;

  /** @returns bytes of the caller's own, which the pool has forgotten. */
  take(count: number): Uint8Array {
    if (count > POOL_BYTES) return randomFillSync(new Uint8Array(count));
    if (this.#used + count > POOL_BYTES) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    const end = this.#used + count;
    const bytes = this.#pool.slice(this.#used, end);
    this.#pool.fill(0, this.#used, end);
    this.#used = end;
    return bytes;
  }
}

const POOL_BYTES = 4_096;
