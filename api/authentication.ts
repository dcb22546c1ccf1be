import type { CertificateDenial, LoginDenial } from './denial-reasons.ts';

/** What a client presented at a login or a renewal, as far as the engine could judge it. */
export interface AuthenticationRequest {
  /** Unique for the life of the process; the answer names it. */
  readonly requestId: number;
  /** A renewal must prove the same identity as `previous`. */
  readonly purpose: 'login' | 'renewal';
  readonly remoteAddress: string;
  readonly certificate: PresentedCertificate | null;
  readonly username: string;
  /** As sent: plain, `SCRV1:…:…`, `CRV1::…` or an auth token. Never logged. */
  readonly password: string;
  /** What this client can ask its user while the login waits. */
  readonly prompts: readonly LoginPrompt['kind'][];
}

/** What a user is to do while the login waits: `AUTH_PENDING` and `INFO_PRE`. */
export type LoginPrompt =
  /** A page to log in at: `https://…`, at most 900 characters. */
  | { readonly kind: 'web'; readonly url: string }
  /** A question; its answer comes back by itself. `echo`: it may be seen as it is typed. */
  | { readonly kind: 'text'; readonly text: string; readonly echo: boolean };

/** What a user must answer before the next login: `AUTH_FAILED,CRV1`. */
export interface LoginChallenge {
  /** Comes back with the answer: `[A-Za-z0-9/_.-]`, 1 to 128. */
  readonly stateId: string;
  /** A question, or the address of a page. */
  readonly text: string;
  /** `none`: the client has only to come back. */
  readonly answer: 'none' | 'hidden' | 'shown';
}

/** The client certificate as TLS saw it. `verdict` is TLS' own answer; further checks are `auth`'s. */
export interface PresentedCertificate {
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** Null when TLS verified the chain; else its reason, e.g. `CERT_HAS_EXPIRED`. */
  readonly authorizationError: string | null;
}

/** Who somebody is, once every configured factor has succeeded. */
export interface Identity {
  /** User name of user-based logins, else the common name. Key of sticky addresses with `commonName`. */
  readonly username: string;
  /** Empty without a certificate. */
  readonly commonName: string;
  /** Upper-case hex SHA-256 of each certificate of the chain, leaf first. */
  readonly certificateFingerprints: readonly string[];
  /** Issuer name hash and serial, to find sessions of a certificate revoked later. Null without a certificate. */
  readonly certificateSerial: { readonly issuerNameHash: string; readonly serial: string } | null;
  /** At most 200, in the provider's order. */
  readonly groups: readonly string[];
}

export type AuthenticationVerdict =
  | {
      readonly kind: 'granted';
      readonly identity: Identity;
      /** Token for later renewals and reconnects, null when none is used. */ readonly authToken: string | null;
    }
  | {
      readonly kind: 'denied';
      /** For logs and metrics. */
      readonly reason: LoginDenial | CertificateDenial;
      /** Follows `AUTH_FAILED,`; printable, ≤ 200 characters, nothing internal. Empty: bare AUTH_FAILED. */
      readonly message: string;
      /** A refused certificate: no connection record, a security counter only. */
      readonly certificateRefused: boolean;
      /** Nothing speaks against the client: it may come back in a while. */
      readonly isTemporary: boolean;
    }
  /** The connection ends; the client asks its user and logs in anew with `CRV1::<stateId>::<answer>` for a password. */
  | { readonly kind: 'challenged'; readonly challenge: LoginChallenge };
