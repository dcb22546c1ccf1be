import type { CertificateDenial, LoginDenial } from '../../api/denial-reasons.ts';
import type { ControlDrop } from '../protocol/control-packet.ts';
import type { NegotiationRefusal } from '../protocol/negotiation.ts';
import type { HandshakeFailure, SessionDrop } from '../protocol/reasons.ts';

// Metric labels and log values. docs/reasons.md explains each; what clients are told is elsewhere, in words of its own.

/** Why a packet of a stranger went no further, beyond what its form tells. */
export const ADMISSION_DROPS = [
  'answer-limit',
  'bad-cookie',
  'client-key-expired',
  'no-cookie',
  'not-an-opening',
  'stateful-start',
] as const;
export type AdmissionDrop = ControlDrop | (typeof ADMISSION_DROPS)[number];

/** Why the engine took no notice of a packet or message that is fine by its form. */
export const ENGINE_DROPS = [
  'challenge-response-unasked',
  'control-message-limit',
  'control-message-malformed',
  'control-message-too-long',
  'control-message-too-many',
  'control-message-unknown',
  'control-message-unprintable',
  'float-to-foreign-address',
] as const;
export type EngineDrop = AdmissionDrop | SessionDrop | (typeof ENGINE_DROPS)[number];

/** Why the engine turned a session start away, of a client whose address is proven or that has a TCP connection. */
export const START_REFUSALS = [
  'half-open-limit',
  'memory-short',
  'start-limit',
  'too-many-from-one-address',
  'too-many-from-one-network',
  'waited-too-long',
] as const;
export type StartRefusal = (typeof START_REFUSALS)[number];

/** Why the engine refused a login, whoever would have granted it. */
export const ENGINE_DENIALS = [
  'client-unable-to-ask',
  'credentials-too-long',
  'login-timeout',
  'no-address-left',
  'no-connection-left',
  'no-new-connections',
  'nothing-negotiated',
  'set-up-failed',
  'shutting-down',
  'too-many-questions',
  'user-removed',
] as const;
export type DenialReason = LoginDenial | CertificateDenial | NegotiationRefusal | (typeof ENGINE_DENIALS)[number];

/** Why a connection ended. */
export const END_REASONS = [
  'certificate-revoked',
  'challenged',
  'client-exit',
  'client-started-anew',
  'configuration-changed',
  'control-channel-lost',
  'gave-way-to-newer-login',
  'identity-changed',
  'keepalive-lost',
  'lingered',
  'maximum-session-duration',
  'replaced-by-same-identity',
  'shutdown',
  'terminated',
  'transport-closed',
  'user-removed',
] as const;
export type EndReason =
  | (typeof END_REASONS)[number]
  | `renewal-refused-${DenialReason}`
  /** Over TCP, of the packet that no honest client sends. */
  | SessionDrop
  /** Of a session that has not become a connection: then nobody hears of it as an end. */
  | HandshakeFailure
  | StartRefusal
  | DenialReason;

/** Why a client is sent away to come back at once. */
export type RestartReason = Extract<EndReason, 'configuration-changed' | 'maximum-session-duration'>;

/** What clients are told with HALT and RESTART. */
export const FAREWELL_TEXTS = {
  'certificate-revoked': 'certificate revoked',
  'configuration-changed': 'configuration changed',
  'maximum-session-duration': 'maximum session duration reached',
  'user-removed': 'user removed',
} as const satisfies Partial<Record<EndReason, string>>;
