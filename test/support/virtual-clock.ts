import type { Instant } from '../../dataplane/sessions/engine-io.ts';

/** Time that passes only when a test says so. Things due at one moment happen in the order they were asked for. */
export class VirtualClock {
  readonly #due: { readonly at: number; readonly act: () => void }[] = [];
  readonly #unixStartMs: number;
  #now: number;

  constructor(options: { readonly startMs?: number; readonly unixStartMs?: number } = {}) {
    this.#now = options.startMs ?? 1_000_000;
    this.#unixStartMs = options.unixStartMs ?? Date.UTC(2026, 0, 1);
  }

  get now(): Instant {
    return this.#now as Instant;
  }

  /** Wall-clock time, ms since 1970, at the same pace. */
  get unixMs(): number {
    return this.#unixStartMs + this.#now;
  }

  after(delayMs: number, act: () => void): void {
    const at = this.#now + Math.max(0, delayMs);
    let index = this.#due.length;
    while (index > 0 && this.#due[index - 1].at > at) index -= 1;
    this.#due.splice(index, 0, { at, act });
  }

  /** Lets `ms` pass. `nextDeadline` and `onDeadline` join a machine that keeps its own timers. */
  advance(ms: number, machines: readonly TimedMachine[] = []): void {
    const end = this.#now + ms;
    for (let turns = 0; ; turns += 1) {
      if (turns > MAX_TURNS) throw new RangeError('The simulation does not come to rest');
      const event = this.#due[0]?.at ?? Infinity;
      const machine = earliest(machines);
      const deadline = machine?.nextDeadline() ?? Infinity;
      const next = Math.min(event, deadline);
      if (next > end) break;
      this.#now = Math.max(this.#now, next);
      if (event <= deadline) this.#due.shift()?.act();
      else machine?.onDeadline();
    }
    this.#now = end;
  }
}

/** Something that wants to be called at a time it names. */
export interface TimedMachine {
  nextDeadline(): number | undefined;
  onDeadline(): void;
}

function earliest(machines: readonly TimedMachine[]): TimedMachine | undefined {
  let best: TimedMachine | undefined;
  for (const machine of machines)
    if ((machine.nextDeadline() ?? Infinity) < (best?.nextDeadline() ?? Infinity)) best = machine;
  return best;
}

const MAX_TURNS = 2_000_000;
