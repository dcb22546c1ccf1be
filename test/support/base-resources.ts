import { stringify } from 'yaml';
import { loadManifests } from '../../standalone/load-manifests.ts';
import type { ManifestDocument } from '../../standalone/manifest-document.ts';

/** A smallest valid object of each kind, as manifests write it. */
export const BASE_RESOURCES: Readonly<Record<string, Json>> = {
  ClientVpnEndpoint: {
    apiVersion: 'clientvpn.dev/v1alpha1',
    kind: 'ClientVpnEndpoint',
    metadata: { name: 'corp' },
    spec: {
      clientCIDR: '10.8.0.0/16',
      serverCertificate: { secretRef: { name: 'server' } },
      authentication: { mutual: { clientCA: { secretRef: { name: 'clients' } } } },
    },
  },
  TargetNetwork: {
    apiVersion: 'clientvpn.dev/v1alpha1',
    kind: 'TargetNetwork',
    metadata: { name: 'net-a' },
    spec: {
      endpointRef: { name: 'corp' },
      zone: 'zone-a',
      subnet: { cidr: '10.50.0.0/24' },
      vpc: { name: 'main', cidrs: ['10.50.0.0/16'] },
    },
  },
  Route: {
    apiVersion: 'clientvpn.dev/v1alpha1',
    kind: 'Route',
    metadata: { name: 'route' },
    spec: {
      endpointRef: { name: 'corp' },
      destinationCIDR: '10.60.0.0/16',
      target: { type: 'TargetNetwork', targetNetworkRef: { name: 'net-a' } },
    },
  },
  AuthorizationRule: {
    apiVersion: 'clientvpn.dev/v1alpha1',
    kind: 'AuthorizationRule',
    metadata: { name: 'rule' },
    spec: { endpointRef: { name: 'corp' }, destinationCIDR: '10.50.0.0/16', access: { allUsers: true } },
  },
  IdentityProvider: {
    apiVersion: 'clientvpn.dev/v1alpha1',
    kind: 'IdentityProvider',
    metadata: { name: 'staff' },
    spec: { type: 'Local', local: { usersSecretRef: { name: 'staff' } } },
  },
};

export type Json = { readonly [key: string]: unknown };

/** JSON merge patch (RFC 7396): `null` removes a member. */
export function patched(base: Json, patch: Json): Json {
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(patch)) {
    const before = result[key];
    if (value === null) delete result[key];
    else if (isObject(value)) result[key] = patched(isObject(before) ? before : {}, value);
    else result[key] = value;
  }
  return result;
}

/** The base object of a kind, patched: `resource('Route', 'r1', { spec: … })`. */
export function resource(kind: string, name: string, patch: Json = {}): Json {
  return patched(patched(BASE_RESOURCES[kind] ?? {}, { metadata: { name } }), patch);
}

/** An object as a manifest's document. */
export function documentOf(object: Json): ManifestDocument {
  const { documents, findings } = loadManifests([{ path: 'test.yaml', text: stringify(object) }]);
  const [document] = documents;
  if (document === undefined) throw new TypeError(findings.map((finding) => finding.message).join('; '));
  return document;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
