// Generated from crds/ by `make generate`; do not edit.
import type {Condition} from '../condition.ts';
import type {ObjectMeta} from '../object-meta.ts';

/**
 * The compiled state of one endpoint, written by the operator and read by the data plane. Not for users.
 */
export interface EndpointSnapshotResource {
  readonly apiVersion: 'clientvpn.dev/v1alpha1';
  readonly kind: 'EndpointSnapshot';
  readonly metadata: ObjectMeta;
  readonly spec: EndpointSnapshotResourceSpec;
  readonly status?: EndpointSnapshotResourceStatus;
}
/**
 * The compiled state. It holds no secrets.
 */
export interface EndpointSnapshotResourceSpec {
  /**
   * Version of this format.
   */
  readonly formatVersion: 1;
  /**
   * Lease transitions of the writer; higher wins.
   */
  readonly epoch: number;
  /**
   * Grows by one with each change of the digest.
   */
  readonly version: number;
  /**
   * SHA-256 of the canonical JSON.
   */
  readonly digest: string;
  /**
   * When it was compiled.
   */
  readonly compiledAt: string;
  /**
   * The endpoint it was compiled from.
   */
  readonly endpoint: {
    /**
     * Its namespace.
     */
    readonly namespace: string;
    /**
     * Its name.
     */
    readonly name: string;
    /**
     * Its id.
     */
    readonly id: string;
  };
  /**
   * Whether new connections are accepted.
   */
  readonly acceptNew: boolean;
  /**
   * Transport.
   */
  readonly transport: 'udp' | 'tcp';
  /**
   * Port.
   */
  readonly port: 443 | 1194;
  /**
   * Control channel wrap.
   */
  readonly controlWrap: 'None' | 'TlsAuth' | 'TlsCrypt' | 'TlsCryptV2';
  /**
   * The clients' network.
   */
  readonly clientCIDR: string;
  /**
   * How clients prove who they are.
   */
  readonly authentication: {
    /**
     * Whether a client certificate is needed.
     */
    readonly mutual: boolean;
    /**
     * The provider for user names and passwords.
     */
    readonly identityProvider: {
      /**
       * Its name.
       */
      readonly name: string;
      /**
       * Its type.
       */
      readonly type: 'Local';
      /**
       * The second factor.
       */
      readonly mfa: {
        /**
         * What the client asks.
         */
        readonly prompt: string;
      } | null;
    } | null;
  };
  /**
   * What clients are told.
   */
  readonly push: {
    /**
     * Whether only the routes go through the tunnel.
     */
    readonly splitTunnel: boolean;
    /**
     * Name servers.
     */
    readonly dnsServers: readonly string[];
    /**
     * Whether the local network is cut off.
     */
    readonly blockLocal: boolean;
    /**
     * The login banner.
     */
    readonly banner: string | null;
  };
  /**
   * Limits of a session.
   */
  readonly session: {
    /**
     * Hours until a session must prove itself anew.
     */
    readonly timeoutHours: number;
    /**
     * Whether it then ends for good.
     */
    readonly disconnectOnTimeout: boolean;
  };
  /**
   * The connection log.
   */
  readonly connectionLogging: {
    /**
     * Whether it is written.
     */
    readonly enabled: boolean;
    /**
     * Log group.
     */
    readonly group: string | null;
    /**
     * Log stream.
     */
    readonly stream: string | null;
  };
  /**
   * What a change does to sessions.
   */
  readonly resetPolicy: 'Minimal' | 'Guide';
  /**
   * Seconds over which clients are moved.
   */
  readonly drainSeconds: number;
  /**
   * Accepted rules, sorted by name.
   */
  readonly rules: readonly {
    /**
     * Name of the AuthorizationRule.
     */
    readonly name: string;
    /**
     * Destination.
     */
    readonly cidr: string;
    /**
     * Whether all users are granted.
     */
    readonly allUsers: boolean;
    /**
     * The group that is granted.
     */
    readonly groupID: string | null;
  }[];
  /**
   * Accepted routes by target network, sorted by destination.
   */
  readonly routing: {
    readonly [k: string]: readonly {
      /**
       * Name of the Route.
       */
      readonly name: string;
      /**
       * Destination.
       */
      readonly cidr: string;
      /**
       * Where packets go.
       */
      readonly via: 'TargetNetwork' | 'Local';
    }[];
  };
  /**
   * Most connections at a time.
   */
  readonly maxConnections: number;
}
/**
 * What became of it.
 */
export interface EndpointSnapshotResourceStatus {
  /**
   * The generation of the spec that this status is about.
   */
  readonly observedGeneration?: number;
  /**
   * Findings, one for each aspect; `Ready` sums them up.
   */
  readonly conditions?: readonly Condition[];
}
