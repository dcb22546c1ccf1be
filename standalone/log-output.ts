import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Writable } from 'node:stream';

/** Where a gateway and its data plane write their log lines. */
export interface LogOutput {
  /** Another one once a relay has ended. */
  readonly stream: Writable;
  /** To be called when everything has been written. */
  readonly close: (limitMs: number) => Promise<void>;
}

/**
 * The standard output, behind a process of its own if that is a terminal: Node blocks on a terminal that is held
 * (Ctrl-S, a selection), and with it everything that a gateway does.
 *
 * @param onRelayLost called when there is no such process, or no longer: `stream` is then the terminal itself
 */
export function openLogOutput(onRelayLost: (reason: string) => void): LogOutput {
  if (!process.stdout.isTTY) return { stream: process.stdout, close: () => Promise.resolve() };
  return new RelayedOutput(onRelayLost);
}

class RelayedOutput implements LogOutput {
  readonly #relay: ChildProcess;
  readonly #ended: Promise<unknown>;
  #closing = false;

  constructor(onLost: (reason: string) => void) {
    // In a session of its own: the terminal's Ctrl-C is meant for the gateway, which has something to say afterwards.
    this.#relay = spawn('cat', { stdio: ['pipe', 'inherit', 'ignore'], detached: true });
    this.#ended = once(this.#relay, 'exit').catch(() => undefined);
    this.#relay.stdin?.on('error', () => undefined);
    this.#relay.once('error', (error) => onLost(error.message));
    this.#relay.once('exit', (code, signal) => {
      this.#relay.stdin?.destroy();
      if (!this.#closing) onLost(`cat ended by ${signal ?? `itself with status ${code}`}`);
    });
  }

  get stream(): Writable {
    const { pid, stdin } = this.#relay;
    return pid === undefined || stdin === null || stdin.destroyed ? process.stdout : stdin;
  }

  async close(limitMs: number): Promise<void> {
    this.#closing = true;
    this.#relay.stdin?.end();
    await Promise.race([this.#ended, delay(limitMs)]);
  }
}
