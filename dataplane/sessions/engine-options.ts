import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import type { PeerTraffic, SocketAddressBytes } from '../data-channel.ts';
import type { DataPlaneMemory, EngineTimers } from '../process-messages.ts';
import type { Remote } from './engine-io.ts';

/** What an engine is made of. Everything it may not do itself (time of day, randomness) is here. */
export interface EngineOptions {
  readonly config: DataPlaneConfig;
  readonly timers: EngineTimers;
  /** Tunnel threads, a power of two: peer id = slot × threads + thread. */
  readonly threads: number;
  /** Peers that each of them has room for. */
  readonly slots: number;
  /** Cryptographically strong bytes. */
  readonly random: (bytes: number) => Uint8Array;
  /** Milliseconds since 1970: cookies, wrap packet ids, key ages, times people read. */
  readonly wallClock: () => number;
  readonly memory: DataPlaneMemory;
  /** Names an address that a tunnel thread reports. */
  readonly remoteFrom: (wire: SocketAddressBytes) => Remote;
  /** Traffic of a live peer; asked for once more before the peer is deleted. */
  readonly traffic: (peerId: number) => PeerTraffic | undefined;
  readonly limits?: Partial<EngineLimits>;
}

export interface EngineLimits {
  /** Handshakes that have not yet become connections, as a share of `maxConnections`. */
  readonly halfOpenShare: number;
  /** Unfinished TCP connections of one IPv4 address or IPv6 /64. */
  readonly halfOpenTcpPerAddress: number;
  /** Stateless answers per second to one IPv4 /24 or IPv6 /56, and to all. */
  readonly answersPerNetwork: number;
  readonly answersTotal: number;
  /** New sessions per second of one IPv4 /24 or IPv6 /56 that have not become connections yet, and in all. */
  readonly unfinishedStartsPerNetwork: number;
  readonly startsPerNetwork: number;
  /** Below this share of the half-open limit, and below this number under way, new sessions are limited per network only. */
  readonly startsUnlimitedShare: number;
  readonly startsUnlimitedMost: number;
  /** New sessions after their cookie, per second and in one burst, beyond that share. */
  readonly startsPerSecond: number;
  readonly startsBurst: number;
  /** Clients that wait for their start beyond that, and for how long at most. */
  readonly waitingStarts: number;
  readonly waitingMs: number;
  /** Age from which a tls-crypt-v2 client key opens no new session, seconds; null: never. */
  readonly clientKeyLifetimeS: number | null;
  /** Control messages of a connected client, per second and in one burst. */
  readonly messagesPerSecond: number;
  readonly messagesBurst: number;
  /** Control packets of one UDP client; a TCP client is not read as fast. */
  readonly controlPacketsPerSecond: number;
  readonly controlPacketsBurst: number;
  /** A renewal that failed is tried again after this long. */
  readonly renewalRetryMs: number;
  /** Repeated PUSH_REQUESTs are not answered again for this long. */
  readonly pushRepeatMs: number;
  /** Key-method messages being collected, bytes over all handshakes; the first few KiB of each always have room. */
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
  unfinishedStartsPerNetwork: 50,
  // About what one core finishes: an office, or a load balancer that hides its clients' addresses, comes back at full speed.
  startsPerNetwork: 200,
  startsUnlimitedShare: 0.5,
  // What a fast machine finishes in a second. Thousands would wait for one another, repeat themselves meanwhile, and finish
  // together or not at all.
  startsUnlimitedMost: 300,
  startsPerSecond: 200,
  startsBurst: 200,
  // At 200 a second the last of them has 20 s of its 60 left for the handshake. 66 MB at most, and 15 as a rule.
  waitingStarts: 8_000,
  waitingMs: 45_000,
  clientKeyLifetimeS: null,
  messagesPerSecond: 10,
  messagesBurst: 50,
  controlPacketsPerSecond: 128,
  controlPacketsBurst: 512,
  renewalRetryMs: 60_000,
  pushRepeatMs: 30_000,
  handshakeBytes: 64 * 1024 * 1024,
  pendingAfterMs: 5_000,
  pendingTimeoutMs: 300_000,
  endedConnections: 10_000,
  failedConnections: 1_000,
  historyMs: 3_600_000,
};

/** Tests make the hours short. */
export function sessionLimitMs({ sessionHourMs = HOUR_MS }: EngineTimers, hours: number): number {
  return hours * sessionHourMs;
}

const HOUR_MS = 3_600_000;
