// Removes what dead test processes left behind: namespaces, the processes inside them, temporary folders, control groups.
// Every name carries the process id of its maker, `cvt-PID-…`; what a living process made is left alone.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryGroupParents } from './memory-group.ts';

export const LAB_PREFIX = 'cvt-';

export function sweepLeftovers(): void {
  for (const name of readNames('/run/netns')) if (isOrphan(name)) removeNamespace(name);
  for (const name of readNames(tmpdir())) {
    if (isOrphan(name)) removeFolder(join(tmpdir(), name));
  }
  for (const parent of memoryGroupParents()) {
    for (const name of readNames(parent)) if (isOrphan(name)) rmdirSync(join(parent, name));
  }
}

/** Removes a temporary folder, file systems that a test mounted in it first. */
export function removeFolder(path: string): void {
  const mounted = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((target) => target === path || target.startsWith(`${path}/`));
  for (const target of mounted.toReversed()) execFileSync('umount', ['--lazy', target]);
  rmSync(path, { recursive: true, force: true });
}

/** Kills what runs inside and deletes the namespace, its interfaces with it. */
export function removeNamespace(name: string): void {
  for (const pid of processesIn(name)) kill(pid);
  const deadline = performance.now() + KILL_WAIT_MS;
  while (processesIn(name).length > 0 && performance.now() < deadline) Atomics.wait(NEVER, 0, 0, 10);
  execFileSync('ip', ['netns', 'delete', name]);
}

function processesIn(name: string): number[] {
  const text = execFileSync('ip', ['netns', 'pids', name], { encoding: 'utf8' });
  return text.split('\n').filter(Boolean).map(Number);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function isOrphan(name: string): boolean {
  const maker = /^cvt-(\d+)-/.exec(name)?.[1];
  return maker !== undefined && Number(maker) !== process.pid && !existsSync(`/proc/${maker}`);
}

function readNames(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

const KILL_WAIT_MS = 5000;
const NEVER = new Int32Array(new SharedArrayBuffer(4));

if (import.meta.main) sweepLeftovers();
