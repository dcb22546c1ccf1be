/**
 * What the operator knows about certificates and revocation lists after reading them: the input of
 * checks and conditions. No secrets. States are the reasons of the conditions `ServerCertificateValid`,
 * `AuthenticationConfigured` and `RevocationListValid`.
 */
export interface CertificateFacts {
  /** RFC 4514-like text, e.g. `CN=vpn.example.com`. */
  readonly subject: string;
  /** `DNS:name` and `IP:address`, in the certificate's order. */
  readonly sans: readonly string[];
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Upper-case hex SHA-256 of the DER. */
  readonly fingerprint: string;
}

export type ServerCertificateState =
  | 'Valid'
  /** Still usable; ends within 30 days. */
  | 'ExpiringSoon'
  | 'Expired'
  | 'NotYetValid'
  | 'KeyMismatch'
  | 'WeakKey'
  | 'MissingServerAuthEKU'
  /** Not a PEM certificate with a PEM key at all. */
  | 'ParseError';

export interface ServerCertificateFacts {
  readonly state: ServerCertificateState;
  /** For a person; names no key bytes. */
  readonly message: string;
  /** The leaf; null after a parse error. */
  readonly certificate: CertificateFacts | null;
}

export type ClientCaState = 'Valid' | 'ClientCAExpired' | 'ClientCANotYetValid' | 'ParseError';

export interface ClientCaFacts {
  /** `Valid` when at least one CA of the bundle is. */
  readonly state: ClientCaState;
  readonly message: string;
  readonly certificates: readonly CertificateFacts[];
}

export type RevocationListState =
  'NotConfigured' | 'Valid' | 'SourceNotFound' | 'ParseError' | 'BadSignature' | 'Expired' | 'TooManyEntries';

export interface RevocationListFacts {
  readonly state: RevocationListState;
  readonly message: string;
  /** Milliseconds since 1970; null when the list names none or was not read. */
  readonly nextUpdate: number | null;
  readonly entries: number;
  /** `sha256:` and hex over the DER; null when nothing was read. */
  readonly digest: string | null;
}
