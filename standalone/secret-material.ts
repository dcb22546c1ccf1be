import type { RevocationMaterial, SecretMaterial } from '../api/data-plane-config.ts';
import { objectKey } from '../api/names.ts';
import type { ClientVpnEndpoint } from '../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { IdentityProvider } from '../api/v1alpha1/generated/identity-provider.ts';
import type { Found } from '../operator/endpoint/facts.ts';
import { readRevocationList } from '../operator/pki/revocation-list.ts';
import {
  clientCaText,
  controlWrapText,
  readProviderUsers,
  revocationListBytes,
  type CoreObjectLookup,
} from './gather-facts.ts';
import type { FieldPath } from './manifest-document.ts';

/** Something secret that an object names and that is not there, or is of no use. */
export interface SecretProblem {
  /** `objectKey` of the object that names it. */
  readonly object: string;
  readonly field: FieldPath;
  readonly message: string;
  /** Not there at all, and of a kind that `--auto-pki` makes. */
  readonly canBeMade: boolean;
}

export type MaterialReading =
  | {
      readonly kind: 'complete';
      readonly material: Omit<SecretMaterial, 'authTokenKey'>;
      /** For client files: what the server's certificate is verified against. */
      readonly serverCaPem: string;
    }
  | { readonly kind: 'incomplete'; readonly problems: readonly SecretProblem[] };

/** Collects the secret bytes that a data plane needs for one endpoint. `now`: milliseconds since 1970. */
export function readMaterial(
  endpoint: ClientVpnEndpoint,
  provider: IdentityProvider | undefined,
  lookup: CoreObjectLookup,
  now: number,
): MaterialReading {
  const { spec } = endpoint;
  const { namespace, name } = endpoint.metadata;
  const key = objectKey('ClientVpnEndpoint', namespace, name);
  const problems: SecretProblem[] = [];
  const makable = new Set([SERVER_FIELD]);
  if (spec.authentication.mutual?.clientCA.secretRef !== undefined) makable.add(CLIENT_CA_FIELD);
  const need = <T>(found: Found<T>, field: FieldPath, object = key): T | null => {
    if (found.kind === 'read') return found.facts;
    problems.push({ object, field, message: found.message, canBeMade: found.what === 'object' && makable.has(field) });
    return null;
  };
  const server = spec.serverCertificate.secretRef.name;
  const serverText = (item: string): Found<string> => secretText(lookup, namespace, server, item);
  const certificate = need(serverText('tls.crt'), SERVER_FIELD);
  const serverKey = certificate === null ? null : need(serverText('tls.key'), SERVER_FIELD);
  const serverCa = serverText('ca.crt');
  const clientCa =
    spec.authentication.mutual === undefined ? null : need(clientCaText(endpoint, lookup), CLIENT_CA_FIELD);
  const list = spec.clientCertificateRevocationList === undefined ? undefined : revocationListBytes(endpoint, lookup);
  const listBytes = list === undefined ? null : need(list, REVOCATION_FIELD);
  const wrap = controlWrapText(endpoint, lookup);
  const wrapField = spec.controlWrapSecretRef === undefined ? WRAP_FIELD : [...WRAP_FIELD, 'name'];
  makable.add(wrapField);
  const wrapKey = wrap === null ? null : need(wrap, wrapField);
  const users = provider === undefined ? undefined : readProviderUsers(provider, lookup);
  const reading = users === undefined || provider === undefined ? null : need(users, USERS_FIELD, keyOf(provider));

  if (certificate === null || serverKey === null || problems.length > 0) return { kind: 'incomplete', problems };
  return {
    kind: 'complete',
    material: {
      serverCertificatePem: certificate,
      serverKeyPem: serverKey,
      clientCaPem: clientCa,
      revocation: revocationOf(listBytes, clientCa ?? '', now),
      controlWrapKey: wrapKey,
      localUsers: reading?.ok === true ? reading.document : null,
    },
    serverCaPem: serverCa.kind === 'read' ? serverCa.facts : certificate,
  };
}

function revocationOf(bytes: Uint8Array | null, clientCaPem: string, now: number): RevocationMaterial {
  if (bytes === null) return { kind: 'None' };
  const { facts, material } = readRevocationList(bytes, clientCaPem, now);
  return material === null ? { kind: 'Unusable', reason: facts.state } : { kind: 'List', lists: [material] };
}

function secretText(lookup: CoreObjectLookup, namespace: string, name: string, item: string): Found<string> {
  const data = lookup('Secret', namespace, name);
  if (data === undefined)
    return { kind: 'missing', what: 'object', message: `Secret ${name} does not exist in ${namespace}` };
  const bytes = data.get(item);
  if (bytes === undefined) return { kind: 'missing', what: 'key', message: `Secret ${name} has no key ${item}` };
  return { kind: 'read', facts: new TextDecoder().decode(bytes) };
}

function keyOf({ metadata }: IdentityProvider): string {
  return objectKey('IdentityProvider', metadata.namespace, metadata.name);
}

const SERVER_FIELD: FieldPath = ['spec', 'serverCertificate', 'secretRef', 'name'];
const CLIENT_CA_FIELD: FieldPath = ['spec', 'authentication', 'mutual', 'clientCA'];
const REVOCATION_FIELD: FieldPath = ['spec', 'clientCertificateRevocationList', 'source'];
const WRAP_FIELD: FieldPath = ['spec', 'controlWrapSecretRef'];
const USERS_FIELD: FieldPath = ['spec', 'local', 'usersSecretRef'];
