import type { ClientCaFacts, RevocationListFacts, ServerCertificateFacts } from '../../api/secret-facts.ts';

/**
 * What somebody who may read Secrets found out about those an endpoint names. `compile` is pure and sees
 * only this. `missing`: the Secret or ConfigMap does not exist, or it does and lacks the key, or it would be at a source
 * that is not read; the message says so.
 */
export type Found<T> =
  | { readonly kind: 'read'; readonly facts: T }
  | { readonly kind: 'missing'; readonly what: 'object' | 'key' | 'source'; readonly message: string };

export interface EndpointFacts {
  readonly serverCertificate: Found<ServerCertificateFacts>;
  /** Null without mutual authentication. */
  readonly clientCa: Found<ClientCaFacts> | null;
  /** Null without a configured list. */
  readonly revocationList: Found<RevocationListFacts> | null;
  /** Whether the key of the control wrap is there. Null with `controlWrap: None`. */
  readonly controlWrapKey: Found<{ readonly isUsable: boolean }> | null;
}

/** Facts about the users document of one Local identity provider. */
export interface UsersFacts {
  readonly state: 'Valid' | 'UsersInvalid';
  /** For a person; names users, never their hashes or secrets. */
  readonly message: string;
  readonly users: number;
}
