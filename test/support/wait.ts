import { setTimeout as sleep } from 'node:timers/promises';

/** The world did not come to look as expected. */
export class WaitError extends Error {
  override readonly name = 'WaitError';
}

/** Polls until the probe yields something other than undefined or false. @throws WaitError after `timeoutMs`. */
export async function waitFor<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 20_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new WaitError(`Waited ${timeoutMs} ms in vain for: ${what}`);
    await sleep(20);
  }
}
