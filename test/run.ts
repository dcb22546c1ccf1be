// Runs the tests: `run.ts [SUITE] [PART OF FILE NAME]…`. Each file has a process of its own. The last line printed is
// `N passed, N failed, N skipped`; the status is 0 only if nothing failed, and, in CI, nothing was left out.
import { existsSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fuzzLinesIn } from './support/fuzz-report.ts';
import { killRunningFiles, runTestFile, type FileReport } from './support/test-file.ts';
import { missingForNamespaceTests } from './support/requirements.ts';
import { sweepLeftovers } from './support/sweep.ts';

interface Suite {
  readonly name: string;
  /** Files at once: namespace tests use the machine's two cores for client and gateway. */
  readonly concurrency: number;
  readonly fileTimeoutS: number;
}

const SUITES: readonly Suite[] = [
  { name: 'architecture', concurrency: 2, fileTimeoutS: 60 },
  { name: 'unit', concurrency: 2, fileTimeoutS: 120 },
  { name: 'golden', concurrency: 2, fileTimeoutS: 120 },
  { name: 'sim', concurrency: 2, fileTimeoutS: 300 },
  { name: 'fuzz', concurrency: 2, fileTimeoutS: 600 + 40 * Number(process.env['FUZZ_SECONDS'] ?? 0) },
  { name: 'system', concurrency: 1, fileTimeoutS: 300 },
  { name: 'interop', concurrency: 1, fileTimeoutS: 600 },
  { name: 'hostile', concurrency: 1, fileTimeoutS: 300 },
  { name: 'faults', concurrency: 1, fileTimeoutS: 600 },
];

/** Inputs that CI feeds to what it fuzzes. */
const FUZZED_AT_LEAST = 1_000_000;

const root = join(import.meta.dirname, '..');
const arguments_ = process.argv.slice(2);
const suites = SUITES.some(({ name }) => name === arguments_[0])
  ? SUITES.filter(({ name }) => name === arguments_[0])
  : SUITES;
const nameParts = suites.length === 1 ? arguments_.slice(1) : arguments_;
const insideCi = process.env['CI'] === 'true';
const started = performance.now();
const reports: FileReport[] = [];

const missing = missingForNamespaceTests();
if (missing.length > 0 && suites.some(({ name }) => ['system', 'interop', 'hostile', 'faults'].includes(name))) {
  console.log(`The tests in namespaces are skipped, because this machine lacks: ${missing.join('; ')}`);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    killRunningFiles();
    // Their ends have to be seen before their leftovers count as orphans.
    setTimeout(() => {
      sweepLeftovers();
      process.exit(1);
    }, 500);
  });
}

for (const suite of suites) {
  const files = testFilesOf(suite);
  if (files.length === 0) continue;
  console.log(`\n${suite.name}`);
  await runSuite(suite, files);
}
sweepLeftovers();

const count = (result: string) =>
  reports.reduce((sum, report) => sum + report.outcomes.filter((o) => o.result === result).length, 0);
const failed = count('failed');
const skipped = count('skipped');

const fuzzed = reports.reduce((sum, { output }) => sum + fuzzLinesIn(output).inputs, 0);
if (fuzzed > 0) console.log(`\n${fuzzed} fuzzed inputs`);
console.log(`\n${reports.length} files in ${((performance.now() - started) / 1000).toFixed(0)} s`);
if (skipped > 0) {
  console.log('\nSkipped:');
  for (const [reason, left] of Map.groupBy(all('skipped'), ({ outcome }) => outcome.detail)) {
    console.log(`  ${reason}`);
    for (const { file, outcome } of left) console.log(`    ${file}: ${outcome.name}`);
  }
}
if (failed > 0) {
  console.log('\nFailed:');
  for (const { file, outcome } of all('failed')) console.log(`  ${file}: ${outcome.name}`);
}
const leftOut = insideCi && (missing.length > 0 || skipped > 0);
if (leftOut) console.log('\nIn CI nothing may be left out: the run counts as failed.');
const isWholeRun = suites.length > 1 && nameParts.length === 0;
const fuzzedTooLittle = insideCi && isWholeRun && fuzzed < FUZZED_AT_LEAST;
if (fuzzedTooLittle) console.log(`\nFewer than ${FUZZED_AT_LEAST} fuzzed inputs: the run counts as failed.`);
if (reports.length === 0) console.log('\nNo test file matches.');
console.log(`\n${count('passed')} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed > 0 || leftOut || fuzzedTooLittle || reports.length === 0 ? 1 : 0);

function testFilesOf(suite: Suite): string[] {
  const folder = join(root, 'test', suite.name);
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(folder, name))
    .filter((path) => nameParts.length === 0 || nameParts.some((part) => path.includes(part)))
    .sort();
}

async function runSuite(suite: Suite, files: readonly string[]): Promise<void> {
  const queue = [...files];
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const report = await runTestFile({ file, name: relative(root, file), timeoutS: suite.fileTimeoutS });
      reports.push(report);
      printReport(report);
    }
  };
  await Promise.all(Array.from({ length: suite.concurrency }, worker));
}

function printReport({ file, outcomes, seconds, output }: FileReport): void {
  const failures = outcomes.filter(({ result }) => result === 'failed');
  const passed = outcomes.filter(({ result }) => result === 'passed').length;
  const left = outcomes.length - passed - failures.length;
  const counts = [
    `${passed} passed`,
    ...(failures.length > 0 ? [`${failures.length} FAILED`] : []),
    ...(left > 0 ? [`${left} skipped`] : []),
  ];
  console.log(`  ${failures.length > 0 ? 'FAIL' : 'ok  '} ${file}  ${counts.join(', ')}  ${seconds.toFixed(1)} s`);
  for (const line of fuzzLinesIn(output).lines) console.log(indent(line));
  for (const failure of failures) console.log(indent(`${failure.name}\n${failure.detail}`));
  if (failures.length > 0 && output !== '') console.log(indent(`--- output of the file\n${output}`));
}

function all(result: string) {
  return reports.flatMap(({ file, outcomes }) =>
    outcomes.filter((o) => o.result === result).map((outcome) => ({ file, outcome })),
  );
}

function indent(text: string): string {
  return text.replace(/^/gm, '       ');
}
