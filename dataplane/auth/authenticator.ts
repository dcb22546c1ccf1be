import type { AuthenticationRequest, AuthenticationVerdict, LoginPrompt } from '../../api/authentication.ts';
import type { CertificateDenial, LoginDenial } from '../../api/denial-reasons.ts';
import type { DataPlaneConfig } from '../../api/data-plane-config.ts';

/** The last step of each user whose TOTP code was spent, to outlive a restart: a code is good once. */
export interface UsedTotpStep {
  readonly user: string;
  readonly step: number;
}

/** What can be said to a client while its login is judged. */
export interface LoginDialogue {
  /** Aborted when nobody waits for the verdict any more: the client has gone, or has waited too long. */
  readonly signal: AbortSignal;
  /** Tells the client that it may take this long from now, and shows its user what to do, if anything. */
  wait(timeoutMs: number, prompt: Extract<LoginPrompt, { kind: 'web' }> | null): void;
  /** Asks the user a question, at most three in one login. @returns the answer; rejects when `signal` is aborted. */
  ask(timeoutMs: number, question: Extract<LoginPrompt, { kind: 'text' }>): Promise<string>;
}

/**
 * Says who somebody is. The answer may take seconds or minutes and blocks no thread.
 * `authenticate` never rejects: whatever goes wrong is a denial, an aborted `dialogue.signal` too. A request's `prompts`
 * say what may be asked; asking anything else ends the login.
 */
export interface Authenticator {
  authenticate(request: AuthenticationRequest, dialogue: LoginDialogue): Promise<AuthenticationVerdict>;
  /** Holds for the requests that come after it. */
  reconfigure(config: DataPlaneConfig): void;
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
/** Of providers that ask nothing between logins. */
export type PlainVerdict = Exclude<AuthenticationVerdict, { kind: 'challenged' }>;

export function denial(reason: LoginDenial, message: string): Denial {
  return { kind: 'denied', reason, message, certificateRefused: false, isTemporary: false };
}

export function temporaryDenial(reason: LoginDenial, message: string): Denial {
  return { ...denial(reason, message), isTemporary: true };
}

export function certificateDenial(reason: CertificateDenial): Denial {
  return { kind: 'denied', reason, message: 'certificate not accepted', certificateRefused: true, isTemporary: false };
}
