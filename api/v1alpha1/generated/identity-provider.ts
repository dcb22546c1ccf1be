// Generated from crds/ by `make generate`; do not edit.
import type {Condition} from '../condition.ts';
import type {ObjectMeta} from '../object-meta.ts';

/**
 * Where user names, passwords, groups and second factors are checked. Endpoints refer to it.
 */
export interface IdentityProvider {
  readonly apiVersion: 'clientvpn.dev/v1alpha1';
  readonly kind: 'IdentityProvider';
  readonly metadata: ObjectMeta;
  readonly spec: IdentityProviderSpec;
  readonly status?: IdentityProviderStatus;
}
/**
 * What the provider shall be.
 */
export interface IdentityProviderSpec {
  /**
   * Kind of provider. Can't be changed later.
   */
  readonly type: 'ActiveDirectory' | 'Saml' | 'Local';
  /**
   * Users kept in a Secret.
   */
  readonly local?: {
    /**
     * The Secret with the users document.
     */
    readonly usersSecretRef: {
      /**
       * Name of the Secret.
       */
      readonly name: string;
      /**
       * The key in it.
       */
      readonly key: string;
    };
    /**
     * A second factor.
     */
    readonly mfa?: {
      /**
       * Whether each login needs a code. Users without a `totpSecret` can't log in then.
       */
      readonly enabled: boolean;
      /**
       * Kind of code.
       */
      readonly type: 'TOTP';
      /**
       * What the client asks the user.
       */
      readonly prompt: string;
    };
  };
  /**
   * A directory, asked over LDAP with TLS.
   */
  readonly activeDirectory?: {
    /**
     * The directory's servers, tried in turn.
     */
    readonly urls: readonly string[];
    /**
     * Whether `ldap://` servers are upgraded to TLS; without it only `ldaps://` is used.
     */
    readonly startTLS: boolean;
    /**
     * CA bundle that signs the servers' certificates.
     */
    readonly caBundleRef?: {
      /**
       * Name of the ConfigMap.
       */
      readonly name: string;
      /**
       * The key in it.
       */
      readonly key: string;
    };
    /**
     * Below which users are sought.
     */
    readonly baseDN: string;
    /**
     * The Secret with `username` and `password` of the account that searches.
     */
    readonly bindSecretRef: {
      /**
       * Name of the Secret.
       */
      readonly name: string;
    };
    /**
     * How a user is found.
     */
    readonly userSearch: {
      /**
       * Filter in which `{username}` stands for the name.
       */
      readonly filter: string;
      /**
       * The attribute that holds the name.
       */
      readonly attribute: string;
    };
    /**
     * How a user's groups are named.
     */
    readonly group: {
      /**
       * What authorization rules call a group.
       */
      readonly mode: 'SID' | 'Name' | 'DN';
      /**
       * Whether groups of groups count.
       */
      readonly nested: boolean;
      /**
       * Most groups of a user that count.
       */
      readonly limit: number;
    };
    /**
     * How long the directory may take.
     */
    readonly timeouts: {
      /**
       * For the connection.
       */
      readonly connectSeconds: number;
      /**
       * For each answer.
       */
      readonly requestSeconds: number;
    };
    /**
     * A second factor.
     */
    readonly mfa?: {
      /**
       * Whether each login needs a code.
       */
      readonly enabled: boolean;
      /**
       * Who checks the code.
       */
      readonly type: 'RADIUS' | 'TOTP';
      /**
       * What the client asks the user.
       */
      readonly prompt: string;
      /**
       * The RADIUS servers.
       */
      readonly radius?: {
        /**
         * Addresses `host` or `host:port`, tried in turn.
         */
        readonly servers: readonly string[];
        /**
         * The Secret with the shared secret.
         */
        readonly secretRef: {
          /**
           * Name of the Secret.
           */
          readonly name: string;
          /**
           * The key in it.
           */
          readonly key: string;
        };
        /**
         * How long an answer may take.
         */
        readonly timeoutSeconds: number;
      };
    };
  };
  /**
   * A SAML 2.0 identity provider.
   */
  readonly saml?: {
    /**
     * Where the provider's metadata document is.
     */
    readonly metadata: {
      /**
       * A Secret.
       */
      readonly secretRef?: {
        /**
         * Name of the Secret.
         */
        readonly name: string;
        /**
         * The key in it.
         */
        readonly key: string;
      };
      /**
       * A ConfigMap.
       */
      readonly configMapRef?: {
        /**
         * Name of the ConfigMap.
         */
        readonly name: string;
        /**
         * The key in it.
         */
        readonly key: string;
      };
      /**
       * A web server.
       */
      readonly url?: {
        /**
         * Address of the document, https only.
         */
        readonly href: string;
        /**
         * CA bundle that signs the web server's certificate.
         */
        readonly caBundleRef?: {
          /**
           * Name of the ConfigMap.
           */
          readonly name: string;
          /**
           * The key in it.
           */
          readonly key: string;
        };
        /**
         * SHA-256 of the only signing certificate that is accepted.
         */
        readonly pinnedFingerprint?: string;
        /**
         * How often the document is fetched, such as `1h`.
         */
        readonly refresh: string;
      };
    };
    /**
     * The audience that assertions must name.
     */
    readonly audience: string;
    /**
     * Where the client waits for the assertion.
     */
    readonly acsURL: string;
    /**
     * Where the self-service portal waits for the assertion, https only.
     */
    readonly portalACSURL?: string;
    /**
     * The attribute that names the groups; upper and lower case differ.
     */
    readonly groupAttribute: string;
    /**
     * Largest response that is read.
     */
    readonly maxResponseBytes: number;
    /**
     * By how much clocks may differ.
     */
    readonly clockSkewSeconds: number;
  };
}
/**
 * What became of it.
 */
export interface IdentityProviderStatus {
  /**
   * The generation of the spec that this status is about.
   */
  readonly observedGeneration?: number;
  /**
   * Findings, one for each aspect; `Ready` sums them up.
   */
  readonly conditions?: readonly Condition[];
}
