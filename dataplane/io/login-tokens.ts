import { randomBytes } from 'node:crypto';
import type { LoginTokens } from '../auth/authenticator.ts';
import {
  checkToken,
  issueToken,
  looksLikeToken,
  renewToken,
  TOKEN_SESSION_ID_BYTES,
  type AuthTokenVerdict,
} from '../protocol/auth-token.ts';

/** How often a client is expected to renew its token; one not renewed for twice as long has expired. */
const RENEWAL_S = 4 * 3_600;

/** Tokens signed with the state's own key, so that a restart of the data plane asks nobody for a code again. */
export class SignedLoginTokens implements LoginTokens {
  readonly #now: () => number;
  #key: Uint8Array;
  #lifetimeS: number;

  /** @param options.now milliseconds since 1970; `key` 32 bytes */
  constructor(options: { readonly now: () => number; readonly key: Uint8Array; readonly lifetimeS: number }) {
    this.#now = options.now;
    this.#key = options.key;
    this.#lifetimeS = options.lifetimeS;
  }

  reconfigure(options: { readonly key: Uint8Array; readonly lifetimeS: number }): void {
    this.#key = options.key;
    this.#lifetimeS = options.lifetimeS;
  }

  issue(subject: string, previous: string | null): string {
    const token = previous === null ? null : this.#verdict(subject, previous);
    return token?.kind === 'valid'
      ? renewToken(this.#key, subject, token, this.#nowS())
      : issueToken(this.#key, subject, this.#nowS(), randomBytes(TOKEN_SESSION_ID_BYTES));
  }

  check(subject: string, presented: string): 'valid' | 'expired' | 'invalid' | 'foreign' {
    return looksLikeToken(presented) ? this.#verdict(subject, presented).kind : 'foreign';
  }

  #verdict(subject: string, presented: string): AuthTokenVerdict {
    const limits = { lifetimeS: this.#lifetimeS, renewalS: RENEWAL_S, nowS: this.#nowS() };
    return checkToken(this.#key, subject, presented, limits);
  }

  #nowS(): number {
    return Math.floor(this.#now() / 1_000);
  }
}
