import type { LocalUser, RevocationMaterial } from '../../api/data-plane-config.ts';
import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import type { EndpointSnapshot } from '../../api/endpoint-snapshot.ts';

export interface ConfigChanges {
  readonly snapshot?: Partial<EndpointSnapshot>;
  readonly controlWrapKey?: string;
  readonly revocation?: RevocationMaterial;
  readonly users?: readonly LocalUser[];
  readonly serverCertificatePem?: string | undefined;
}

/** A small valid configuration of a mutual-only UDP endpoint, with what a test wants different. */
export function dataPlaneConfig(changes: ConfigChanges = {}): DataPlaneConfig {
  return {
    snapshot: {
      formatVersion: 1,
      epoch: 1,
      version: 1,
      digest: 'sha256:00',
      compiledAt: '2026-01-01T00:00:00Z',
      endpoint: { namespace: 'default', name: 'office', id: 'cvpn-endpoint-0123456789abcdef0' },
      acceptNew: true,
      transport: 'udp',
      port: 443,
      controlWrap: 'None',
      clientCIDR: '10.100.0.0/22',
      authentication: { mutual: true, identityProvider: null },
      push: { splitTunnel: true, dnsServers: [], blockLocal: false, banner: null },
      session: { timeoutHours: 24, disconnectOnTimeout: false },
      connectionLogging: { enabled: false, group: null, stream: null },
      resetPolicy: 'Minimal',
      drainSeconds: 10,
      rules: [{ name: 'all', cidr: '10.50.0.0/16', allUsers: true, groupID: null }],
      routing: { 'net-a': [{ name: 'net-a-local', cidr: '10.50.0.0/16', via: 'TargetNetwork' }] },
      maxConnections: 1000,
      ...changes.snapshot,
    },
    targetNetwork: 'net-a',
    secrets: {
      serverCertificatePem: changes.serverCertificatePem ?? 'certificate',
      serverKeyPem: 'key',
      clientCaPem: 'ca',
      revocation: changes.revocation ?? { kind: 'None' },
      controlWrapKey: changes.controlWrapKey ?? null,
      localUsers: changes.users === undefined ? null : { users: changes.users },
      authTokenKey: '',
    },
  };
}
