/**
 * The compiled, versioned state of one endpoint: the only contract between the planes. It holds no
 * secrets; `DataPlaneConfig` carries those beside it.
 */
export interface EndpointSnapshot {
  readonly formatVersion: 1;
  /** Lease transitions of the writer; a higher epoch wins whatever the version. Standalone: the start time in seconds. */
  readonly epoch: number;
  /** Grows by one with each change of `digest`. */
  readonly version: number;
  /** `sha256:` and hex, over the canonical JSON of everything but epoch, version, digest and compiledAt. */
  readonly digest: string;
  /** RFC 3339. */
  readonly compiledAt: string;
  readonly endpoint: { readonly namespace: string; readonly name: string; readonly id: string };
  readonly acceptNew: boolean;
  readonly transport: 'udp' | 'tcp';
  readonly port: 443 | 1194;
  readonly controlWrap: ControlWrapKind;
  readonly clientCIDR: string;
  readonly authentication: SnapshotAuthentication;
  readonly push: {
    readonly splitTunnel: boolean;
    readonly dnsServers: readonly string[];
    readonly blockLocal: boolean;
    /** Null when the banner is off. */
    readonly banner: string | null;
  };
  readonly session: { readonly timeoutHours: number; readonly disconnectOnTimeout: boolean };
  readonly connectionLogging: {
    readonly enabled: boolean;
    readonly group: string | null;
    readonly stream: string | null;
  };
  readonly resetPolicy: 'Minimal' | 'Guide';
  /** Seconds over which clients are restarted when they must be told something new. */
  readonly drainSeconds: number;
  /** Accepted rules only, sorted by name. */
  readonly rules: readonly SnapshotRule[];
  /** Accepted routes by target network name, sorted by CIDR. */
  readonly routing: Readonly<Record<string, readonly SnapshotRoute[]>>;
  /** Largest number of connections the endpoint may hold. */
  readonly maxConnections: number;
}

export type ControlWrapKind = 'None' | 'TlsAuth' | 'TlsCrypt' | 'TlsCryptV2';

export interface SnapshotAuthentication {
  readonly mutual: boolean;
  /** Name and kind of the provider for user-based logins, null for mutual-only endpoints. */
  readonly identityProvider: SnapshotIdentityProvider | null;
}

export interface SnapshotIdentityProvider {
  readonly name: string;
  readonly type: 'Local';
  readonly mfa: { readonly prompt: string } | null;
}

export interface SnapshotRule {
  readonly name: string;
  readonly cidr: string;
  /** Exactly one of the two grants: all users, or the group. */
  readonly allUsers: boolean;
  readonly groupID: string | null;
}

export interface SnapshotRoute {
  readonly name: string;
  readonly cidr: string;
  readonly via: 'TargetNetwork' | 'Local';
}
