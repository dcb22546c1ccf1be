import type { ControlDrop } from './control-packet.ts';
import type { KeyMethodFailure } from './key-method.ts';

/**
 * Why a packet had no effect, beyond what can be told without its session; metric labels. `control-replayed` is harmless,
 * the rest is not by an honest client's doing.
 */
export const SESSION_DROPS = [
  'beyond-window',
  'control-packet-limit',
  'control-replayed',
  'control-unknown-key',
  'foreign-session',
  'renewal-not-allowed',
  'wrong-receiver',
] as const;
export type SessionDrop = ControlDrop | (typeof SESSION_DROPS)[number];

/** Why a negotiation led nowhere, beyond what key-method messages and OpenSSL have names for; metric labels. */
export const HANDSHAKE_FAILURES = [
  'acknowledges-too-little',
  'closed-by-client',
  'hand-window-over',
  'handshake-memory',
  'handshake-too-large',
  'output-queue-full',
  'tls-session-resumed',
] as const;
export type HandshakeFailure =
  | KeyMethodFailure
  | (typeof HANDSHAKE_FAILURES)[number]
  /** As OpenSSL calls it. */
  | `tls-${string}`;
