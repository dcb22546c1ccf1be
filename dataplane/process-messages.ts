import type { Connection } from '../api/connection.ts';
import type { DataPlaneConfig } from '../api/data-plane-config.ts';

/**
 * JSON lines between whoever supervises a data plane (standalone's root parent) and the data plane.
 * The supervisor opens sockets and TUN queues while it has the privilege and hands over descriptors.
 * End of file on the channel means that the supervisor died: the data plane says goodbye and exits.
 */
export type SupervisorMessage =
  | { readonly kind: 'start'; readonly start: DataPlaneStart }
  | { readonly kind: 'config'; readonly config: DataPlaneConfig }
  /** Whether the manifests as they are now are refused, for the metric: the configuration is then of older ones. */
  | { readonly kind: 'manifestsJudged'; readonly areRefused: boolean }
  | { readonly kind: 'listConnections'; readonly requestId: number }
  | { readonly kind: 'terminate'; readonly requestId: number; readonly connectionId: string }
  /** The answer to `codesUsed`: what it told is on disk, or can't be kept and is reported there. */
  | { readonly kind: 'codesKept'; readonly sequence: number }
  /** Say goodbye to the clients, for at most so long, and end. */
  | { readonly kind: 'shutdown'; readonly limitMs: number };

export interface DataPlaneStart {
  readonly descriptors: DataPlaneDescriptors;
  readonly config: DataPlaneConfig;
  /** What survived the last run; empty at first. */
  readonly memory: DataPlaneMemory;
  /** Interface name of the TUN queues, for logs. */
  readonly tunName: string;
  readonly metricsListen: { readonly host: string; readonly port: number } | null;
  readonly logLevel: LogLevel;
  /** Absent values: the defaults of production. Tests run the timers short. */
  readonly timers?: Partial<EngineTimers>;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Open descriptors, by number in the data plane's process. */
export interface DataPlaneDescriptors {
  /** One per tunnel thread, in reuseport order; empty for TCP endpoints. */
  readonly udpTunnel: readonly number[];
  /** The control thread's socket, last of the reuseport group; null for TCP endpoints. */
  readonly udpControl: number | null;
  /** One listener per tunnel thread; empty for UDP endpoints. */
  readonly tcp: readonly number[];
  /** One queue per tunnel thread. */
  readonly tun: readonly number[];
}

/** All in milliseconds. */
export interface EngineTimers {
  readonly handWindowMs: number;
  readonly renegotiateMs: number;
  readonly pingMs: number;
  readonly pingRestartMs: number;
  readonly lingerMs: number;
  readonly retransmitMs: number;
  readonly transitionWindowMs: number;
  /** Least time between renewals that a client starts. */
  readonly clientRenewalPauseMs: number;
  /** What counts as an hour of the session limit; absent: an hour. */
  readonly sessionHourMs?: number;
}

/** Those of a /16. More would be longer than what a start can tell; whoever else comes back gets another address. */
export const LEASES_TOLD_MOST = 65_536;

export interface DataPlaneMemory {
  /** At most LEASES_TOLD_MOST. */
  readonly leases: readonly { readonly identity: string; readonly address: string; readonly freedAt: number | null }[];
  /** Last used TOTP step per user: a code is good once. */
  readonly totpSteps: readonly { readonly user: string; readonly step: number }[];
}

export type DataPlaneMessage =
  /** Clients can connect. */
  | { readonly kind: 'ready' }
  /** The start failed for good; the reason is for a person. */
  | { readonly kind: 'failed'; readonly reason: string }
  /** Every tunnel thread enforces this version. */
  | { readonly kind: 'applied'; readonly version: number; readonly digest: string }
  | { readonly kind: 'rejected'; readonly version: number; readonly digest: string; readonly reason: string }
  | { readonly kind: 'connections'; readonly requestId: number; readonly connections: readonly Connection[] }
  | { readonly kind: 'terminated'; readonly requestId: number; readonly found: boolean }
  /** To be written to the state folder; whole, replaces the last. */
  | { readonly kind: 'leases'; readonly leases: DataPlaneMemory['leases'] }
  /**
   * Likewise, and logins wait for it: a code that got somebody in must not get in anybody else after a crash. The next one
   * follows the answer.
   */
  | { readonly kind: 'codesUsed'; readonly sequence: number; readonly totpSteps: DataPlaneMemory['totpSteps'] };
