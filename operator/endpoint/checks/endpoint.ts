import type { ClientVpnEndpoint } from '../../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { IdentityProvider } from '../../../api/v1alpha1/generated/identity-provider.ts';
import { isFalse, isTrue, isUnknown, type Judgement } from '../conditions.ts';
import type { EndpointFacts, Found, UsersFacts } from '../facts.ts';
import { judgeIdentityProvider, notServedYet } from './identity-provider.ts';
import { bySeniority, type Rejection } from './verdict.ts';

/** The provider that an endpoint's user-based method refers to, and the type it must have. */
export function identityProviderRef(
  endpoint: ClientVpnEndpoint,
): { readonly name: string; readonly type: IdentityProvider['spec']['type']; readonly field: string } | undefined {
  const { activeDirectory, federated, local } = endpoint.spec.authentication;
  const at = (method: string): string => `spec.authentication.${method}.identityProviderRef.name`;
  if (local !== undefined) return { name: local.identityProviderRef.name, type: 'Local', field: at('local') };
  if (activeDirectory !== undefined) {
    return { name: activeDirectory.identityProviderRef.name, type: 'ActiveDirectory', field: at('activeDirectory') };
  }
  if (federated === undefined) return undefined;
  return { name: federated.identityProviderRef.name, type: 'Saml', field: at('federated') };
}

export function findIdentityProvider(
  endpoint: ClientVpnEndpoint,
  providers: readonly IdentityProvider[],
): IdentityProvider | undefined {
  const ref = identityProviderRef(endpoint);
  return providers.find((provider) => provider.metadata.name === ref?.name && provider.spec.type === ref.type);
}

/** Why an endpoint is not accepted, if it is not. */
export function checkEndpoint(
  endpoint: ClientVpnEndpoint,
  siblings: readonly ClientVpnEndpoint[],
  providers: readonly IdentityProvider[],
  quota: number,
): Rejection | undefined {
  const rank = siblings.toSorted(bySeniority).findIndex((other) => other.metadata.name === endpoint.metadata.name);
  if (rank >= quota) {
    const message = `the namespace has ${quota} endpoints already, which is its quota (endpoints)`;
    return { reason: 'QuotaExceeded', field: 'metadata.name', message };
  }
  const ref = identityProviderRef(endpoint);
  if (ref === undefined) return undefined;
  const named = providers.find((provider) => provider.metadata.name === ref.name);
  if (named === undefined) {
    const message = `there is no IdentityProvider ${ref.name} in namespace ${endpoint.metadata.namespace}`;
    return { reason: 'IdentityProviderNotFound', field: ref.field, message };
  }
  if (named.spec.type === ref.type) return undefined;
  const message = `IdentityProvider ${ref.name} is of type ${named.spec.type}, expected ${ref.type}`;
  return { reason: 'InvalidSpec', field: ref.field, message };
}

/** Something that an accepted endpoint asks for and no data plane of this release can do: it must not be served at all. */
export interface Unservable {
  readonly reason: string;
  readonly field: string;
  readonly message: string;
}

export function whatNoneServes(endpoint: ClientVpnEndpoint): readonly Unservable[] {
  const ref = identityProviderRef(endpoint);
  const handler = judgeConnectHandler(endpoint);
  const found: Unservable[] = [];
  if (ref !== undefined && ref.type !== 'Local')
    found.push({ reason: 'NotSupported', field: ref.field, message: notServedYet(ref.type) });
  if (handler.status === 'False')
    found.push({ reason: handler.reason, field: 'spec.clientConnectHandler.enabled', message: handler.message });
  return found;
}

const NOT_CHECKED = 'nobody looked at the Secrets';

export function judgeServerCertificate(facts: EndpointFacts | null): Judgement {
  const type = 'ServerCertificateValid';
  if (facts === null) return isUnknown(type, 'NotChecked', NOT_CHECKED);
  const found = facts.serverCertificate;
  if (found.kind === 'missing') return isFalse(type, 'SecretNotFound', found.message);
  const { state, message } = found.facts;
  return state === 'Valid' || state === 'ExpiringSoon' ? isTrue(type, state, message) : isFalse(type, state, message);
}

export function judgeAuthentication(
  endpoint: ClientVpnEndpoint,
  providers: readonly IdentityProvider[],
  users: ReadonlyMap<string, Found<UsersFacts>>,
  facts: EndpointFacts | null,
): Judgement {
  const type = 'AuthenticationConfigured';
  const ref = identityProviderRef(endpoint);
  if (ref !== undefined) {
    const provider = findIdentityProvider(endpoint, providers);
    const ready = provider === undefined ? undefined : judgeIdentityProvider(provider, users.get(ref.name));
    if (ready === undefined || ready.status === 'False') {
      const why = ready === undefined ? 'not found' : `${ready.reason}: ${ready.message}`;
      return isFalse(type, 'IdentityProviderNotReady', `IdentityProvider ${ref.name}: ${why}`);
    }
    if (ready.status === 'Unknown') return isUnknown(type, ready.reason, ready.message);
  }
  if (endpoint.spec.authentication.mutual === undefined) return isTrue(type, 'Configured');
  if (facts === null) return isUnknown(type, 'NotChecked', NOT_CHECKED);
  const found = facts.clientCa;
  if (found === null) return isFalse(type, 'ClientCANotFound', 'the client CA was not looked for');
  if (found.kind === 'missing') return isFalse(type, 'ClientCANotFound', found.message);
  const { state, message } = found.facts;
  return state === 'Valid' ? isTrue(type, 'Configured', message) : isFalse(type, state, message);
}

export function judgeRevocationList(endpoint: ClientVpnEndpoint, facts: EndpointFacts | null): Judgement {
  const type = 'RevocationListValid';
  if (endpoint.spec.clientCertificateRevocationList === undefined) return isTrue(type, 'NotConfigured');
  if (facts === null) return isUnknown(type, 'NotChecked', NOT_CHECKED);
  const found = facts.revocationList;
  if (found === null) return isFalse(type, 'SourceNotFound', 'the list was not looked for');
  if (found.kind === 'missing') return isFalse(type, 'SourceNotFound', found.message);
  const { state, message } = found.facts;
  return state === 'Valid' ? isTrue(type, state, message) : isFalse(type, state, message);
}

/** An enabled handler must be asked before each connection; what can't ask it must let nobody in. */
export function judgeConnectHandler(endpoint: ClientVpnEndpoint): Judgement {
  const type = 'ConnectHandlerConfigured';
  if (endpoint.spec.clientConnectHandler?.enabled !== true) return isTrue(type, 'Disabled');
  return isFalse(
    type,
    'NotAllowed',
    'connect handlers are not served yet; the endpoint lets nobody in while one is enabled',
  );
}
