import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Writable } from 'node:stream';

/** Where a gateway and its data plane write their log lines. */
export interface LogOutput {
  readonly stream: Writable;
  /** To be called when everything has been written. */
  readonly close: (limitMs: number) => Promise<void>;
}

/**
 * The standard output, behind a process of its own if that is a terminal: Node blocks on a terminal that is held
 * (Ctrl-S, a selection), and with it everything that a gateway does.
 */
export function openLogOutput(): LogOutput {
  if (!process.stdout.isTTY) return { stream: process.stdout, close: () => Promise.resolve() };
  // In a session of its own: the terminal's Ctrl-C is meant for the gateway, which has something to say afterwards.
  const relay = spawn('cat', { stdio: ['pipe', 'inherit', 'ignore'], detached: true });
  const ended = once(relay, 'exit');
  ended.catch(() => undefined);
  return {
    stream: relay.stdin,
    close: async (limitMs) => {
      relay.stdin.end();
      await Promise.race([ended, delay(limitMs)]);
    },
  };
}
