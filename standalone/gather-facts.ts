import { objectKey } from '../api/names.ts';
import type { ClientVpnEndpoint } from '../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { IdentityProvider } from '../api/v1alpha1/generated/identity-provider.ts';
import { parsePasswordHash } from '../dataplane/auth/password-hash.ts';
import { decodeBase32 } from '../dataplane/auth/totp.ts';
import { parseStaticKey } from '../dataplane/protocol/static-key.ts';
import { parseServerKeyPem } from '../dataplane/protocol/tls-crypt-v2.ts';
import {
  readLocalUsers,
  type LocalUsersFormats,
  type LocalUsersReading,
} from '../operator/endpoint/checks/local-users.ts';
import type { ResourceSet } from '../operator/endpoint/compile-set.ts';
import type { EndpointFacts, Found, UsersFacts } from '../operator/endpoint/facts.ts';
import { clientCaFacts, serverCertificateFacts } from '../operator/pki/certificate-facts.ts';
import { readRevocationList } from '../operator/pki/revocation-list.ts';

/** Where Secrets and ConfigMaps come from: the manifests, and what auto PKI made. Undefined: there is none. */
export type CoreObjectLookup = (
  kind: 'Secret' | 'ConfigMap',
  namespace: string,
  name: string,
) => ReadonlyMap<string, Uint8Array> | undefined;

export interface GatheredFacts {
  /** By `objectKey` of the endpoint. */
  readonly facts: ReadonlyMap<string, EndpointFacts>;
  /** By `objectKey` of the Local provider. */
  readonly users: ReadonlyMap<string, Found<UsersFacts>>;
}

/** Looks at every Secret and ConfigMap that the resources name. `now`: milliseconds since 1970. */
export function gatherFacts(resources: ResourceSet, lookup: CoreObjectLookup, now: number): GatheredFacts {
  return {
    facts: new Map(
      resources.endpoints.map((endpoint) => {
        const { namespace, name } = endpoint.metadata;
        return [objectKey('ClientVpnEndpoint', namespace, name), endpointFacts(endpoint, lookup, now)];
      }),
    ),
    users: new Map(
      resources.identityProviders.flatMap((provider) => {
        const users = usersFacts(provider, lookup);
        const { namespace, name } = provider.metadata;
        return users === undefined ? [] : [[objectKey('IdentityProvider', namespace, name), users] as const];
      }),
    ),
  };
}

/** The users document of a Local provider; undefined for other types. */
export function readProviderUsers(
  provider: IdentityProvider,
  lookup: CoreObjectLookup,
): Found<LocalUsersReading> | undefined {
  const reference = provider.spec.local?.usersSecretRef;
  if (reference === undefined) return undefined;
  const text = textOf(lookup, 'Secret', provider.metadata.namespace, reference.name, reference.key);
  return text.kind === 'missing' ? text : { kind: 'read', facts: readLocalUsers(text.facts, LOCAL_USERS_FORMATS) };
}

/** What the data plane of this release can check passwords and codes against. */
export const LOCAL_USERS_FORMATS: LocalUsersFormats = {
  isPasswordHash: (text) => parsePasswordHash(text) !== undefined,
  isTotpSecret: (text) => decodeBase32(text) !== undefined,
};

function usersFacts(provider: IdentityProvider, lookup: CoreObjectLookup): Found<UsersFacts> | undefined {
  const reading = readProviderUsers(provider, lookup);
  if (reading === undefined || reading.kind === 'missing') return reading;
  if (reading.facts.ok) {
    return { kind: 'read', facts: { state: 'Valid', message: '', users: reading.facts.document.users.length } };
  }
  return { kind: 'read', facts: { state: 'UsersInvalid', message: reading.facts.problems.join('; '), users: 0 } };
}

function endpointFacts(endpoint: ClientVpnEndpoint, lookup: CoreObjectLookup, now: number): EndpointFacts {
  const { namespace } = endpoint.metadata;
  const { serverCertificate, authentication, clientCertificateRevocationList } = endpoint.spec;
  const server = serverCertificate.secretRef.name;
  const certificate = textOf(lookup, 'Secret', namespace, server, 'tls.crt');
  const key = textOf(lookup, 'Secret', namespace, server, 'tls.key');
  const clientCa = authentication.mutual === undefined ? null : clientCaText(endpoint, lookup);
  return {
    serverCertificate: bothRead(certificate, key, (pem, keyPem) => serverCertificateFacts(pem, keyPem, now)),
    clientCa: clientCa === null ? null : mapped(clientCa, (pem) => clientCaFacts(pem, now)),
    revocationList:
      clientCertificateRevocationList === undefined
        ? null
        : mapped(revocationListBytes(endpoint, lookup), (bytes) => {
            const ca = clientCa?.kind === 'read' ? clientCa.facts : '';
            return readRevocationList(bytes, ca, now).facts;
          }),
    controlWrapKey: controlWrapFacts(endpoint, lookup),
  };
}

/** The key in a control wrap's Secret, and whether its text is a key of that kind. */
const WRAP_KEYS = {
  TlsAuth: { key: 'tls-auth.key', isUsable: (text: string) => parseStaticKey(text) !== undefined },
  TlsCrypt: { key: 'tls-crypt.key', isUsable: (text: string) => parseStaticKey(text) !== undefined },
  TlsCryptV2: { key: 'tls-crypt-v2-server.key', isUsable: (text: string) => parseServerKeyPem(text) !== undefined },
} as const;

/** What auto PKI calls the Secret of a control wrap's key that the endpoint does not name. */
export function unnamedWrapSecret(endpoint: string): string {
  return `${endpoint}-control-wrap`;
}

/** The text of the control wrap's key; null with `controlWrap: None`. */
export function controlWrapText(endpoint: ClientVpnEndpoint, lookup: CoreObjectLookup): Found<string> | null {
  const { namespace, name } = endpoint.metadata;
  const { controlWrap, controlWrapSecretRef } = endpoint.spec;
  if (controlWrap === 'None') return null;
  const { key } = WRAP_KEYS[controlWrap];
  const found = textOf(lookup, 'Secret', namespace, controlWrapSecretRef?.name ?? unnamedWrapSecret(name), key);
  if (found.kind === 'read' || controlWrapSecretRef !== undefined) return found;
  return { ...found, message: `controlWrap ${controlWrap} needs a Secret with the key ${key}` };
}

function controlWrapFacts(endpoint: ClientVpnEndpoint, lookup: CoreObjectLookup): EndpointFacts['controlWrapKey'] {
  const text = controlWrapText(endpoint, lookup);
  const { controlWrap } = endpoint.spec;
  if (text === null || controlWrap === 'None') return null;
  return mapped(text, (key) => ({ isUsable: WRAP_KEYS[controlWrap].isUsable(key) }));
}

/** The client CA bundle that an endpoint with mutual authentication names, as PEM text. */
export function clientCaText(endpoint: ClientVpnEndpoint, lookup: CoreObjectLookup): Found<string> {
  const { namespace } = endpoint.metadata;
  const source = endpoint.spec.authentication.mutual?.clientCA;
  if (source?.secretRef !== undefined) {
    return textOf(lookup, 'Secret', namespace, source.secretRef.name, source.secretRef.key);
  }
  if (source?.configMapRef !== undefined) {
    return textOf(lookup, 'ConfigMap', namespace, source.configMapRef.name, source.configMapRef.key);
  }
  return { kind: 'missing', what: 'object', message: 'no client CA is named' };
}

/** The revocation list that an endpoint names, as it is stored. */
export function revocationListBytes(endpoint: ClientVpnEndpoint, lookup: CoreObjectLookup): Found<Uint8Array> {
  const { namespace } = endpoint.metadata;
  const source = endpoint.spec.clientCertificateRevocationList?.source;
  if (source?.secretRef !== undefined) {
    return bytesOf(lookup, 'Secret', namespace, source.secretRef.name, source.secretRef.key);
  }
  if (source?.configMapRef !== undefined) {
    return bytesOf(lookup, 'ConfigMap', namespace, source.configMapRef.name, source.configMapRef.key);
  }
  return {
    kind: 'missing',
    what: 'source',
    message: 'lists at a URL are not fetched by standalone mode; use a Secret or ConfigMap',
  };
}

function bytesOf(
  lookup: CoreObjectLookup,
  kind: 'Secret' | 'ConfigMap',
  namespace: string,
  name: string,
  key: string,
): Found<Uint8Array> {
  const data = lookup(kind, namespace, name);
  if (data === undefined)
    return { kind: 'missing', what: 'object', message: `${kind} ${name} does not exist in ${namespace}` };
  const bytes = data.get(key);
  return bytes === undefined
    ? { kind: 'missing', what: 'key', message: `${kind} ${name} has no key ${key}` }
    : { kind: 'read', facts: bytes };
}

function textOf(...where: Parameters<typeof bytesOf>): Found<string> {
  return mapped(bytesOf(...where), (bytes) => new TextDecoder().decode(bytes));
}

function mapped<A, B>(found: Found<A>, map: (facts: A) => B): Found<B> {
  return found.kind === 'missing' ? found : { kind: 'read', facts: map(found.facts) };
}

function bothRead<A, B, C>(a: Found<A>, b: Found<B>, join: (a: A, b: B) => C): Found<C> {
  if (a.kind === 'missing') return a;
  return b.kind === 'missing' ? b : { kind: 'read', facts: join(a.facts, b.facts) };
}
