import { readFileSync } from 'node:fs';

/** A process, told from a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, as /proc has it. */
  readonly startTime: string;
}

/** @returns undefined when there is no such process, or only its zombie. */
export function processIdentity(pid: number): ProcessIdentity | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
  // The name in parentheses may hold anything; what follows the last one is state, then field 4 and on.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, startTime] = [fields[0], fields[START_TIME_FIELD]];
  return startTime === undefined || state === 'Z' || state === 'X' ? undefined : { pid, startTime };
}

export function isAlive(process: ProcessIdentity): boolean {
  return processIdentity(process.pid)?.startTime === process.startTime;
}

/** Field 22 of proc(5), counted from field 3. */
const START_TIME_FIELD = 19;
