import type { AuthenticationRequest, AuthenticationVerdict } from '../../api/authentication.ts';
import type { DataPlaneConfig } from '../../api/data-plane-config.ts';

/** The last step of each user whose TOTP code was spent, to outlive a restart: a code is good once. */
export interface UsedTotpStep {
  readonly user: string;
  readonly step: number;
}

/**
 * Says who somebody is. The answer may take seconds or minutes and blocks no thread.
 * `authenticate` never rejects: whatever goes wrong is a denial, an aborted `signal` too.
 */
export interface Authenticator {
  authenticate(request: AuthenticationRequest, signal: AbortSignal): Promise<AuthenticationVerdict>;
  /** Holds for the requests that come after it. */
  reconfigure(config: DataPlaneConfig): void;
  totpSteps(): readonly UsedTotpStep[];
}

/**
 * What the driver gives to make and check the tokens that spare people a second code.
 * `subject` is opaque: the account and its credentials, so that a new password voids old tokens.
 */
export interface LoginTokens {
  /** @param previous the token presented, whose session goes on; null at a login with a password. */
  issue(subject: string, previous: string | null): string;
  /** `foreign`: the text is no token at all, but a password. */
  check(subject: string, presented: string): 'valid' | 'expired' | 'invalid' | 'foreign';
}

export type Denial = Extract<AuthenticationVerdict, { kind: 'denied' }>;

/** Reasons are metric labels and log values: constant, never derived from what a client sent. */
export function denial(reason: string, message: string): Denial {
  return { kind: 'denied', reason, message, certificateRefused: false };
}

export function certificateDenial(reason: string): Denial {
  return { kind: 'denied', reason, message: 'certificate not accepted', certificateRefused: true };
}
