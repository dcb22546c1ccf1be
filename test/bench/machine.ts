import { readdirSync, readFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';

/** Seconds of processor that these processes and all below them have used so far, in user mode and in the kernel. */
export function cpuSecondsOf(roots: readonly number[]): number {
  let ticks = 0;
  for (const pid of treeOf(roots)) ticks += ticksOf(pid);
  return ticks / TICKS_PER_SECOND;
}

/** How much the machine does besides: busy share of all processors, and what the hypervisor took away. */
export class Contention {
  readonly #from = readCpuLine();

  read(): { readonly load: number; readonly busy: number; readonly steal: number } {
    const now = readCpuLine();
    const spent = now.map((value, index) => value - this.#from[index]);
    const total = spent.reduce((sum, value) => sum + value, 0);
    const idle = spent[3] + spent[4];
    return { load: loadavg()[0], busy: 1 - idle / total, steal: spent[7] / total };
  }
}

export function describeMachine(): string {
  const [first] = cpus();
  return `${first?.model ?? 'unknown processor'}, ${cpus().length} cores, Linux ${release()}, Node ${process.version}`;
}

function treeOf(roots: readonly number[]): ReadonlySet<number> {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const parent = Number(statFields(pid)?.[1]);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const found = new Set<number>();
  const open = [...roots];
  for (let pid = open.pop(); pid !== undefined; pid = open.pop()) {
    found.add(pid);
    open.push(...(children.get(pid) ?? []));
  }
  return found;
}

function ticksOf(pid: number): number {
  const fields = statFields(pid);
  return fields === undefined ? 0 : Number(fields[11]) + Number(fields[12]);
}

/** The fields of /proc/PID/stat from the third on; undefined once the process is gone. */
function statFields(pid: number): readonly string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

function readCpuLine(): readonly number[] {
  const [line] = readFileSync('/proc/stat', 'latin1').split('\n');
  return line.split(/\s+/).slice(1, 9).map(Number);
}

/** USER_HZ, the same on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
