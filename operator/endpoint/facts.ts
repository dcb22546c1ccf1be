import type { ClientCaFacts, RevocationListFacts, ServerCertificateFacts } from '../../api/secret-facts.ts';

/**
 * What somebody who may read Secrets found out about those an endpoint names. `compile` is pure and sees
 * only this. `missing`: the Secret, ConfigMap or key does not exist; the message names it.
 */
export type Found<T> =
  { readonly kind: 'read'; readonly facts: T } | { readonly kind: 'missing'; readonly message: string };

export interface EndpointFacts {
  readonly serverCertificate: Found<ServerCertificateFacts>;
  /** Null without mutual authentication. */
  readonly clientCa: Found<ClientCaFacts> | null;
  /** Null without a configured list. */
  readonly revocationList: Found<RevocationListFacts> | null;
}

/** Facts about the users document of one Local identity provider. */
export interface UsersFacts {
  readonly state: 'Valid' | 'UsersInvalid';
  /** For a person; names users, never their hashes or secrets. */
  readonly message: string;
  readonly users: number;
}
