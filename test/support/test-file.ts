import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestOutcome } from './test-events.ts';

export interface FileReport {
  readonly file: string;
  readonly outcomes: readonly TestOutcome[];
  readonly seconds: number;
  /** The end of what the file printed. */
  readonly output: string;
}

/** Runs one test file in its own process group; past the time limit the whole group is killed and counts as failed. */
export async function runTestFile(options: {
  readonly file: string;
  readonly name: string;
  readonly timeoutS: number;
}): Promise<FileReport> {
  const started = performance.now();
  const folder = mkdtempSync(join(tmpdir(), `cvt-${process.pid}-report-`));
  const destination = join(folder, 'outcomes');
  try {
    const { problem, output } = await runToEnd(options.file, destination, options.timeoutS);
    const outcomes = readOutcomes(destination);
    const seconds = (performance.now() - started) / 1000;
    const anyFailed = outcomes.some(({ result }) => result === 'failed');
    const failure = problem ?? (outcomes.length === 0 ? 'the file ran no test' : undefined);
    const isNews = failure !== undefined && !(anyFailed && failure.startsWith('exit status'));
    const added: TestOutcome[] = isNews ? [{ name: '(whole file)', result: 'failed', detail: failure, seconds }] : [];
    return { file: options.name, outcomes: [...outcomes, ...added], seconds, output };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function runToEnd(
  file: string,
  destination: string,
  timeoutS: number,
): Promise<{ readonly problem: string | undefined; readonly output: string }> {
  const reporter = new URL('test-events.ts', import.meta.url).href;
  const child = spawn(
    process.execPath,
    [`--test-reporter=${reporter}`, `--test-reporter-destination=${destination}`, file],
    { stdio: ['ignore', 'pipe', 'pipe'], detached: true },
  );
  if (child.pid !== undefined) running.add(child.pid);
  let output = '';
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString('utf8')).slice(-OUTPUT_KEPT);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup(child.pid);
  }, timeoutS * 1000);
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      if (child.pid !== undefined) running.delete(child.pid);
      // A test that leaves a child behind must not outlive its file.
      killGroup(child.pid);
      const problem = timedOut
        ? `still running after ${timeoutS} s; killed`
        : code === 0
          ? undefined
          : code === null
            ? `killed by ${signal ?? 'a signal'}`
            : `exit status ${code}`;
      resolve({ problem, output });
    });
  });
}

/** Ends what runs now, so that an interrupted run leaves no process behind. */
export function killRunningFiles(): void {
  for (const pid of running) killGroup(pid);
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function readOutcomes(path: string): TestOutcome[] {
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return text
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as TestOutcome);
}

const running = new Set<number>();
const OUTPUT_KEPT = 20_000;
