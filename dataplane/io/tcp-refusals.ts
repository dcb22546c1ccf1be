import type { TcpRefusal } from '../data-channel.ts';

/** @returns false when the control thread cannot be told just now. */
export type ReportRefusals = (reason: TcpRefusal, remote: Uint8Array, count: number) => boolean;

/**
 * Connections that one thread turned away. Each counts; the control thread is told once a second and reason, with the
 * last remote and how many there were, so that whoever opens thousands fills no ring.
 */
export class TcpRefusals {
  readonly #report: ReportRefusals;
  readonly #pending = new Map<TcpRefusal, { remote: Uint8Array; count: number; nextAt: number }>();

  constructor(report: ReportRefusals) {
    this.#report = report;
  }

  note(reason: TcpRefusal, remote: Uint8Array): void {
    const pending = this.#pending.get(reason) ?? { remote, count: 0, nextAt: 0 };
    this.#pending.set(reason, pending);
    pending.remote = Uint8Array.from(remote);
    pending.count += 1;
  }

  /** @param now milliseconds of a monotonic clock */
  tell(now: number): void {
    for (const [reason, pending] of this.#pending) {
      if (pending.count === 0 || now < pending.nextAt) continue;
      if (!this.#report(reason, pending.remote, pending.count)) return;
      pending.count = 0;
      pending.nextAt = now + INTERVAL_MS;
    }
  }
}

const INTERVAL_MS = 1_000;
