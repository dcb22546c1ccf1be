import type { TestContext } from 'node:test';

/** Seed of random tests: TEST_SEED repeats a run. */
export const SEED = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** Prints the seed with the test, and gives it in the form that fast-check takes. */
export function seeded(context: TestContext): { readonly seed: number } {
  context.diagnostic(`TEST_SEED=${SEED}`);
  return { seed: SEED };
}

/** A small generator of numbers in [0, 1): good enough to choose, bad for secrets. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` bytes from `random`. */
export function randomBytesFrom(random: () => number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => Math.floor(random() * 256));
}
