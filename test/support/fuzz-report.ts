import type { TestContext } from 'node:test';

/** Says how many inputs a fuzz test fed and how many passed each layer: with the test, and as a line that test/run.ts shows. */
export function reportInputs(context: TestContext, inputs: number, layers: ReadonlyMap<string, number>): void {
  const text = `${inputs} inputs: ${[...layers].map(([layer, count]) => `${layer} ${count}`).join(', ')}`;
  context.diagnostic(text);
  console.log(`${FUZZ_LINE}${context.name}: ${text}`);
}

/** The lines of `reportInputs` in what a test file printed, and the inputs in all. */
export function fuzzLinesIn(output: string): { readonly lines: readonly string[]; readonly inputs: number } {
  const lines = output
    .split('\n')
    .filter((line) => line.startsWith(FUZZ_LINE))
    .map((line) => line.slice(FUZZ_LINE.length));
  const inputs = lines.reduce((sum, line) => sum + Number(/: (\d+) inputs: /.exec(line)?.[1] ?? 0), 0);
  return { lines, inputs };
}

const FUZZ_LINE = 'fuzz: ';
