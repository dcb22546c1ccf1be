import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Writable } from 'node:stream';

const STDOUT = 1;

/** Where a gateway and its data planes write their log lines. */
export interface LogOutput {
  /** Of the gateway itself. Another one once a relay has ended. */
  readonly stream: Writable;
  /** An output for one data plane, which may be taken over. */
  readonly lend: () => LentOutput;
  /** To be called when everything has been written. */
  readonly close: (limitMs: number) => Promise<void>;
}

/** For standard output and standard error alike: ours of errors may be a terminal where the other is none. */
export interface LentOutput {
  readonly stdio: typeof STDOUT | 'ignore' | Writable;
  /** To be called once the process has been started: from then on it alone holds it. */
  readonly release: () => void;
}

export interface LogOutputOptions {
  /** The gateway's own lines go straight to the terminal from now on. */
  readonly onRelayLost: (reason: string) => void;
  /** The lines of a data plane that is about to be started go nowhere. */
  readonly onNotLent: (reason: string) => void;
}

/**
 * The standard output. Node blocks on a terminal that is held (Ctrl-S, a selection), and with it everything that a gateway
 * does: there the gateway writes to a process that writes to the terminal.
 *
 * A data plane has such a process of its own there: whoever holds a terminal can read what is typed, and whoever holds the
 * gateway's way to it can shut it. Files and sockets are passed on as they are: `cat` ends at the first write that finds
 * no room.
 */
export function openLogOutput(options: LogOutputOptions): LogOutput {
  return new StandardOutput(options);
}

class StandardOutput implements LogOutput {
  readonly #options: LogOutputOptions;
  readonly #own: Relay | undefined;
  readonly #relays = new Set<Relay>();
  #closing = false;

  constructor(options: LogOutputOptions) {
    this.#options = options;
    if (process.stdout.isTTY) this.#own = this.#relay(options.onRelayLost);
  }

  get stream(): Writable {
    return this.#own?.input ?? process.stdout;
  }

  lend(): LentOutput {
    const nothing = (): void => undefined;
    if (!process.stdout.isTTY) return { stdio: STDOUT, release: nothing };
    const { input } = this.#relay(nothing, this.#options.onNotLent);
    // Not `end`, which would shut the socket for the process too.
    return { stdio: input ?? 'ignore', release: () => input?.destroy() };
  }

  async close(limitMs: number): Promise<void> {
    this.#closing = true;
    this.#own?.input?.end();
    await Promise.race([
      Promise.all([...this.#relays].map(({ ended }) => ended)),
      delay(limitMs, undefined, { ref: false }),
    ]);
  }

  #relay(onLost: (reason: string) => void, onFailed = onLost): Relay {
    const relay = new Relay((reason) => this.#closing || onLost(reason), onFailed);
    this.#relays.add(relay);
    void relay.ended.then(() => this.#relays.delete(relay));
    return relay;
  }
}

/** A `cat` between whoever holds its input and our standard output. */
class Relay {
  readonly ended: Promise<unknown>;
  readonly #child: ChildProcess;

  constructor(onLost: (reason: string) => void, onFailed: (reason: string) => void) {
    // In a session of its own: the terminal's Ctrl-C is meant for the gateway, which has something to say afterwards.
    const child = spawn('cat', { stdio: ['pipe', 'inherit', 'ignore'], detached: true });
    this.#child = child;
    this.ended = once(child, 'exit').catch(() => undefined);
    child.stdin.on('error', () => undefined);
    child.once('error', (error) => onFailed(error.message));
    child.once('exit', (code, signal) => {
      child.stdin.destroy();
      onLost(`cat ended by ${signal ?? `itself with status ${code}`}`);
    });
  }

  /** Undefined when it could not be started, or has ended. */
  get input(): Writable | undefined {
    const { pid, stdin } = this.#child;
    return pid === undefined || stdin === null || stdin.destroyed ? undefined : stdin;
  }
}
