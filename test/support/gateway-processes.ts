import { readFileSync, readdirSync } from 'node:fs';
import type { Gateway } from './gateway.ts';
import { LabError } from './netns.ts';
import { waitFor } from './wait.ts';

/** Process ids of a running gateway: the root parent, and the data plane, whose number changes with each restart. */
export interface GatewayProcesses {
  readonly parent: number;
  readonly child: number;
}

/** Waits until the gateway has both of its processes. */
export async function gatewayProcesses(gateway: Gateway): Promise<GatewayProcesses> {
  const parent = gateway.pid;
  if (parent === undefined) throw new LabError('The gateway was not started');
  const child = await waitFor('the data plane', () => dataPlaneOf(parent));
  return { parent, child };
}

/** The data plane of a parent; undefined while it has none. */
export function dataPlaneOf(parent: number): number | undefined {
  // Its program alone is also named by the look whether its user may read it.
  return childrenOf(parent).find((pid) => commandOf(pid).includes('--channel-fd'));
}

/** Program and arguments, each ended by a zero byte; empty for a process that has just gone. */
export function commandOf(pid: number): string {
  return readOrEmpty(`/proc/${pid}/cmdline`);
}

export function isRunning(pid: number): boolean {
  const state = /\) (\w)/.exec(readOrEmpty(`/proc/${pid}/stat`))?.[1];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

export function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Resident memory in bytes. */
export function residentBytes(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

function childrenOf(pid: number): readonly number[] {
  return readOrEmpty(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
}

/** Empty for a process that has just gone. */
function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw error;
  }
}
