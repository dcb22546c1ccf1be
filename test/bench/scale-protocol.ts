import type { ExportedIdentities } from './scale-identities.ts';

/** JSON lines from the bench to a generator. Client numbers count from 0 in each generator. */
export type GeneratorRequest =
  | { readonly kind: 'setup'; readonly plan: GeneratorPlan }
  /** Begins logins of clients [from, to), so many per second; Infinity (null in JSON) for all at once. */
  | { readonly kind: 'login'; readonly from: number; readonly to: number; readonly perSecond: number | null }
  /** Counts are cheap; times of 20,000 clients are not. */
  | { readonly kind: 'state'; readonly sinceMs: number; readonly detail: 'counts' | 'times' }
  /** Echo requests through the tunnel from clients [from, to), each so many per second. */
  | {
      readonly kind: 'traffic';
      readonly from: number;
      readonly to: number;
      readonly perSecond: number;
      readonly seconds: number;
      readonly bytes: number;
      readonly destination: string;
    }
  /** One client asks every `everyMs` until an answer to a request sent after `sinceMs` comes. */
  | { readonly kind: 'probe'; readonly sinceMs: number; readonly everyMs: number; readonly destination: string }
  | { readonly kind: 'exit'; readonly from: number; readonly to: number };

export interface GeneratorPlan {
  readonly identities: ExportedIdentities;
  /** Certificates in use; clients share them in turn. */
  readonly certificates: number;
  readonly clients: number;
  readonly server: { readonly address: string; readonly port: number };
  /** First of the source networks and how many /24 there are. */
  readonly firstNetwork: string;
  readonly networks: number;
  /** Number of the first client among all source addresses. */
  readonly firstAddress: number;
  readonly firstPort: number;
}

export interface GeneratorState {
  readonly connected: number;
  /** Logins begun in all. */
  readonly attempts: number;
  /** Clients that heard nothing for ping-restart. */
  readonly restarts: number;
  /** Clients that are connected and heard the server within the last 25 s (two pings and a half). */
  readonly alive: number;
  /** Clients that connected after `sinceMs`. */
  readonly back: number;
  /** With times: from `sinceMs` to the connection of each of them, sorted; ms. */
  readonly backAfterMs: readonly number[];
  /** With times: from the first try of a client's last login to its connection, sorted; ms. */
  readonly loginMs: readonly number[];
  readonly failures: Readonly<Record<string, number>>;
  /** Resident memory and CPU time of the generator. */
  readonly residentBytes: number;
  readonly cpuSeconds: number;
  readonly sendErrors: number;
}

export interface TrafficResult {
  readonly sent: number;
  readonly received: number;
  /** Round trips, ms. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** The generator's own lateness in sending, which lies in no server's power, ms. */
  readonly ownLagP99: number;
}

/** When the first answered request left; CLOCK_MONOTONIC, ms. */
export interface ProbeResult {
  readonly passedAtMs: number;
}

/** CLOCK_MONOTONIC in ms: the same in every process of the machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export function percentileOf(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}
