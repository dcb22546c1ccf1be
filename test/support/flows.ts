import { setTimeout as sleep } from 'node:timers/promises';
import type { Flow } from './agent.ts';
import { WaitError } from './wait.ts';

/** Bytes or packets so far, whichever the flow counts. */
async function progress(flow: Flow): Promise<number> {
  const { bytes, packets } = await flow.state();
  return bytes + packets;
}

/** Waits until the count stands still. @returns the seconds until its last change. */
export async function waitUntilStopped(count: () => Promise<number>, timeoutMs = 10_000): Promise<number> {
  const started = performance.now();
  let last = await count();
  let changed = started;
  while (performance.now() - changed < QUIET_MS) {
    if (performance.now() - started > timeoutMs) throw new WaitError(`Still moving after ${timeoutMs} ms, at ${last}`);
    await sleep(25);
    const now = await count();
    if (now !== last) changed = performance.now();
    last = now;
  }
  return (changed - started) / 1000;
}

export function waitUntilFlowStopped(flow: Flow): Promise<number> {
  return waitUntilStopped(() => progress(flow));
}

/** Waits until a flow has moved on from where it is now. */
export async function waitForProgress(flow: Flow, timeoutMs = 5000): Promise<void> {
  const before = await progress(flow);
  const deadline = performance.now() + timeoutMs;
  while ((await progress(flow)) <= before) {
    if (performance.now() > deadline) throw new WaitError(`The flow stood still for ${timeoutMs} ms at ${before}`);
    await sleep(25);
  }
}

/** As long as nothing moves for this long, a flow has stopped: streams send every 10 ms. */
const QUIET_MS = 600;
