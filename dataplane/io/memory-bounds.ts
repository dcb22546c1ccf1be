import { readFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';
import { join } from 'node:path';

/** One thing that memory may run into. */
export interface MemoryBound {
  readonly name: 'container' | 'machine' | 'data size' | 'address space';
  readonly usedBytes: number;
  readonly limitBytes: number;
}

/** Where the kernel shows what holds for this process; tests have folders of their own. */
export interface MemoryPaths {
  readonly process: string;
  readonly controlGroups: string;
}

/**
 * What has been taken, and may be, of everything that bounds this process: the memory of its container (a pod's limit,
 * systemd's MemoryMax), of the machine, and limits of its own. Not V8's: it collects garbage before it gives up, and
 * until then garbage counts.
 */
export function readMemoryBounds(paths: MemoryPaths = KERNEL): readonly MemoryBound[] {
  const total = totalmem();
  return [
    { name: 'machine', usedBytes: total - freemem(), limitBytes: total },
    ...container(paths, total),
    ...processLimits(paths),
  ];
}

function container(paths: MemoryPaths, total: number): readonly MemoryBound[] {
  const path = /^0::(.+)$/m.exec(read(paths.process, 'cgroup'))?.[1] ?? '/';
  const folder = join(paths.controlGroups, path);
  const usage = Number(read(folder, 'memory.current') || NaN);
  const own = Number(read(folder, 'memory.max') || NaN);
  // Node also knows version 1 of control groups, and says a number beyond all memory where there is no limit.
  const limitBytes = Number.isNaN(own) ? process.constrainedMemory() : own;
  if (!(limitBytes > 0 && limitBytes < total)) return [];
  if (Number.isNaN(usage)) return [{ name: 'container', usedBytes: process.memoryUsage.rss(), limitBytes }];
  // Pages of files are given up before anything fails. Not those of tmpfs, which count among them, and without what is
  // mapped, the program itself, nothing would run.
  const stat = read(folder, 'memory.stat');
  const spare = field(stat, 'file') - field(stat, 'shmem') - field(stat, 'file_mapped');
  return [{ name: 'container', usedBytes: usage - Math.max(0, spare), limitBytes }];
}

/** RLIMIT_DATA and RLIMIT_AS, which may be set while the process runs. */
function processLimits(paths: MemoryPaths): readonly MemoryBound[] {
  const limits = read(paths.process, 'limits');
  const status = read(paths.process, 'status');
  return PROCESS_LIMITS.flatMap(({ name, limit, used }) => {
    const limitBytes = Number(new RegExp(`^${limit} +(\\d+)`, 'm').exec(limits)?.[1] ?? NaN);
    if (Number.isNaN(limitBytes)) return [];
    return [{ name, usedBytes: 1024 * Number(new RegExp(`^${used}:\\s+(\\d+)`, 'm').exec(status)?.[1]), limitBytes }];
  });
}

function field(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
}

/** Empty where there is no such file, or no descriptor left to read it with. */
function read(folder: string, name: string): string {
  try {
    return readFileSync(join(folder, name), 'utf8');
  } catch {
    return '';
  }
}

const KERNEL: MemoryPaths = { process: '/proc/self', controlGroups: '/sys/fs/cgroup' };
const PROCESS_LIMITS = [
  { name: 'data size', limit: 'Max data size', used: 'VmData' },
  { name: 'address space', limit: 'Max address space', used: 'VmSize' },
] as const;
