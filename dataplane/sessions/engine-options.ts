import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import type { DataPlaneMemory, EngineTimers } from '../process-messages.ts';

/** What an engine is made of. Everything it may not do itself (time of day, randomness) is here. */
export interface EngineOptions {
  readonly config: DataPlaneConfig;
  readonly timers: EngineTimers;
  /** Tunnel threads, a power of two: peer id = slot × threads + thread. */
  readonly threads: number;
  /** Cryptographically strong bytes. */
  readonly random: (bytes: number) => Uint8Array;
  /** Milliseconds since 1970: cookies, wrap packet ids, key ages, times people read. */
  readonly wallClock: () => number;
  readonly memory: DataPlaneMemory;
  readonly limits?: Partial<EngineLimits>;
}

export interface EngineLimits {
  /** Handshakes that have not yet become connections, as a share of `maxConnections`. */
  readonly halfOpenShare: number;
  /** Unfinished TCP connections of one address. */
  readonly halfOpenTcpPerAddress: number;
  /** Stateless answers per second to one IPv4 /24 or IPv6 /56, and to all (tunnel.md 4.8). */
  readonly answersPerNetwork: number;
  readonly answersTotal: number;
  /** New sessions after their cookie, per second and in one burst. */
  readonly startsPerSecond: number;
  readonly startsBurst: number;
  /** Key-method messages being collected, bytes over all handshakes. */
  readonly handshakeBytes: number;
  /** A login undecided for this long is announced with AUTH_PENDING. */
  readonly pendingAfterMs: number;
  /** An undecided login fails after this long, whatever was announced. */
  readonly pendingTimeoutMs: number;
  /** Ended and failed connections that stay listed, and for how long. */
  readonly endedConnections: number;
  readonly failedConnections: number;
  readonly historyMs: number;
}

export const DEFAULT_LIMITS: EngineLimits = {
  halfOpenShare: 0.25,
  halfOpenTcpPerAddress: 32,
  answersPerNetwork: 10,
  answersTotal: 5_000,
  startsPerSecond: 200,
  startsBurst: 1_000,
  handshakeBytes: 64 * 1024 * 1024,
  pendingAfterMs: 5_000,
  pendingTimeoutMs: 300_000,
  endedConnections: 10_000,
  failedConnections: 1_000,
  historyMs: 3_600_000,
};
