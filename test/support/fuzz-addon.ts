import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { InternalError } from '../../net/errors.ts';
import { reportInputs } from './fuzz-report.ts';
import { randomFrom, seeded } from './seed.ts';

export interface FuzzTools {
  readonly below: (limit: number) => number;
  readonly random: () => number;
  /** Something from the edge of what a number of so many bits can be. */
  readonly edge: (bits: 8 | 16 | 32) => number;
  readonly reached: (layer: string, count?: number) => void;
}

/**
 * Calls `round`, which takes care of as many inputs as it returns, until there were FUZZ_ITERATIONS or FUZZ_SECONDS are
 * over. What the addon refuses as misuse is fine; the layers named must have been reached.
 *
 * @param cost how much more than usual one input costs; so many times fewer are fed.
 */
export async function fuzzAddon(
  context: TestContext,
  round: (tools: FuzzTools) => number | Promise<number>,
  mustReach: readonly string[],
  cost = 1,
): Promise<void> {
  const random = randomFrom(seeded(context).seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const layers = new Map<string, number>();
  const reached = (layer: string, count = 1): void => void layers.set(layer, (layers.get(layer) ?? 0) + count);
  const edge = (bits: 8 | 16 | 32): number => (EDGES[below(EDGES.length)] & (2 ** bits - 1)) >>> 0;
  const untilMs = performance.now() + SECONDS * 1000;
  let inputs = 0;
  while (SECONDS > 0 ? performance.now() < untilMs : inputs * cost < INPUTS) {
    try {
      const done = round({ below, random, edge, reached });
      inputs += typeof done === 'number' ? done : await done;
    } catch (error) {
      if (![TypeError, RangeError, InternalError].some((misuse) => error instanceof misuse)) throw error;
      reached('refused as misuse');
      inputs += 1;
    }
  }
  reportInputs(context, inputs, layers);
  for (const layer of mustReach) assert.ok((layers.get(layer) ?? 0) > 0, `nothing reached ${layer}`);
}

const INPUTS = Number(process.env['FUZZ_ITERATIONS'] ?? 60_000);
const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 0);
/** Of the sizes of headers, packets and numbers; 0x4_0000 is that of a batch's bytes. */
const EDGES = [
  0, 1, 2, 3, 15, 16, 19, 20, 21, 27, 28, 39, 40, 41, 60, 127, 128, 255, 256, 1400, 0x7fff, 0x8000, 65_535,
].concat([65_536, 0x3_ffff, 0x4_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ff00, 0xffff_fffe, 0xffff_ffff]);
