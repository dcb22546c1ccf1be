import type { EndpointSnapshot } from './endpoint-snapshot.ts';

/**
 * What a data plane needs to serve: the snapshot, and the secret material it refers to. Delivered
 * over a pipe (standalone) or read from the API (pod); never logged, never written to disk.
 */
export interface DataPlaneConfig {
  readonly snapshot: EndpointSnapshot;
  readonly targetNetwork: string;
  readonly secrets: SecretMaterial;
}

export interface SecretMaterial {
  /** Leaf first, then intermediates, PEM. */
  readonly serverCertificatePem: string;
  readonly serverKeyPem: string;
  /** PEM bundle; null when the endpoint has no mutual authentication. */
  readonly clientCaPem: string | null;
  readonly revocation: RevocationMaterial;
  /** tls-auth / tls-crypt: the text of the static key file; tls-crypt-v2: the server key PEM; else null. */
  readonly controlWrapKey: string | null;
  /** The users document of a Local provider, already validated by the sender; null without one. */
  readonly localUsers: LocalUsersDocument | null;
  /** 32 bytes, base64: signs auth tokens; survives restarts. */
  readonly authTokenKey: string;
}

export type RevocationMaterial =
  | { readonly kind: 'None' }
  /** `serials`: sorted, upper-case hex without leading zeros or separators, of every issuer listed in `issuers`. */
  | { readonly kind: 'List'; readonly lists: readonly RevocationListMaterial[] }
  /** Configured, but unusable: new logins are refused with the reason. */
  | { readonly kind: 'Unusable'; readonly reason: string };

export interface RevocationListMaterial {
  /** Upper-case hex SHA-256 of the issuer's DER subject name. */
  readonly issuerNameHash: string;
  /** Milliseconds since 1970; new logins are refused from then on. Null: the list never expires. */
  readonly nextUpdate: number | null;
  /** base64 of the serials, each right-aligned in `serialBytes` bytes, ascending. */
  readonly serialBytes: number;
  readonly serials: string;
}

export interface LocalUsersDocument {
  readonly users: readonly LocalUser[];
}

export interface LocalUser {
  readonly name: string;
  /** argon2id PHC string. */
  readonly passwordHash: string;
  /** Only the first GROUPS_PER_USER count. */
  readonly groups: readonly string[];
  /** base32, RFC 6238; absent: no second factor. */
  readonly totpSecret?: string;
}

/** The guide's quota. */
export const GROUPS_PER_USER = 200;
