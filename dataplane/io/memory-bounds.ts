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
  const groups = read(paths.process, 'cgroup');
  const own = CONTROL_GROUPS.flatMap((version) => {
    const path = version.path.exec(groups)?.[1] ?? '/';
    const root = join(paths.controlGroups, version.folder);
    // Within a container the path may be the host's, and the root is the container's own group.
    return [join(root, path), root].map((folder) => ({ ...version, folder }));
  }).find(({ folder, usage, limit }) => read(folder, usage) !== '' && read(folder, limit) !== '');
  // Node also knows the limits of groups above; a number beyond all memory is none.
  const limits = [Number(own === undefined ? NaN : read(own.folder, own.limit)), process.constrainedMemory()];
  const limitBytes = Math.min(...limits.filter((limit) => limit > 0 && limit < total));
  if (limitBytes === Infinity) return [];
  if (own === undefined) return [{ name: 'container', usedBytes: process.memoryUsage.rss(), limitBytes }];
  // Pages of files are given up before anything fails. Not those of tmpfs, which count among them, and without what is
  // mapped, the program itself, nothing would run.
  const stat = read(own.folder, 'memory.stat');
  const spare = field(stat, own.files) - field(stat, own.shared) - field(stat, own.mapped);
  return [{ name: 'container', usedBytes: Number(read(own.folder, own.usage)) - Math.max(0, spare), limitBytes }];
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
/** Version 2 of control groups, then version 1. */
const CONTROL_GROUPS = [
  {
    path: /^0::(.+)$/m,
    folder: '',
    usage: 'memory.current',
    limit: 'memory.max',
    files: 'file',
    shared: 'shmem',
    mapped: 'file_mapped',
  },
  {
    path: /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.+)$/m,
    folder: 'memory',
    usage: 'memory.usage_in_bytes',
    limit: 'memory.limit_in_bytes',
    files: 'total_cache',
    shared: 'total_shmem',
    mapped: 'total_mapped_file',
  },
] as const;
const PROCESS_LIMITS = [
  { name: 'data size', limit: 'Max data size', used: 'VmData' },
  { name: 'address space', limit: 'Max address space', used: 'VmSize' },
] as const;
