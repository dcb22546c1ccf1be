import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reportInputs } from './fuzz-report.ts';
import { mutate } from './mutation.ts';
import { randomFrom, SEED, seeded } from './seed.ts';

export interface FuzzTarget {
  readonly name: string;
  /** Valid input, to begin with. */
  readonly corpus: readonly Uint8Array[];
  /**
   * Feeds one input and says how deep it came: `reached` is called with the name of each layer that let it pass. Throws
   * only when an invariant is broken.
   */
  readonly feed: (input: Uint8Array, reached: (layer: string) => void) => void;
  /** Layers that mutated inputs must get into: a fuzzer that stays outside shows nothing. */
  readonly mustReach: readonly string[];
  /** How much more than usual one input costs; so many times fewer are fed. */
  readonly cost?: number;
}

/** One test: FUZZ_ITERATIONS inputs for the target, or as many as FUZZ_SECONDS allow; TEST_SEED repeats a run. */
export function fuzzTarget(target: FuzzTarget): void {
  test(`no input makes it throw: ${target.name}`, (context) => {
    seeded(context);
    const random = randomFrom(SEED);
    const layers = new Map<string, number>();
    const reached = (layer: string): void => void layers.set(layer, (layers.get(layer) ?? 0) + 1);
    const untilMs = performance.now() + SECONDS * 1000;
    const wanted = Math.ceil(ITERATIONS / (target.cost ?? 1));
    let inputs = 0;
    for (; SECONDS > 0 ? performance.now() < untilMs : inputs < wanted; inputs += 1) {
      const input = mutate(target.corpus, random);
      try {
        target.feed(input, reached);
      } catch (error) {
        throw new assert.AssertionError({
          message: `Input ${Buffer.from(input).toString('hex')}: ${error instanceof Error ? error.stack : String(error)}`,
        });
      }
    }
    reportInputs(context, inputs, layers);
    for (const layer of target.mustReach) assert.ok((layers.get(layer) ?? 0) > 0, `no input reached ${layer}`);
  });
}

const ITERATIONS = Number(process.env['FUZZ_ITERATIONS'] ?? 30_000);
const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 0);
