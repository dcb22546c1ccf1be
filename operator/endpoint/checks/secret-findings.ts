import type { ClientVpnEndpoint } from '../../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { CompileFinding } from '../compile-types.ts';
import type { EndpointFacts, Found } from '../facts.ts';

export type ToleratedSecret = 'unusable-list' | 'outdated-certificate';

/**
 * What is wrong with the Secrets and ConfigMaps that an endpoint names. One that does not exist is a warning
 * here (somebody may make it in time); one that is there but wrong is an error.
 *
 * @param tolerated what whoever asks serves all the same: a gateway takes a revocation list that can't be used (it lets
 *   nobody new in) and, once it runs, certificates that have outlived their dates: taking a rule away must not wait for
 *   somebody to renew them.
 */
export function secretFindings(
  endpoint: ClientVpnEndpoint,
  facts: EndpointFacts,
  tolerated: ReadonlySet<ToleratedSecret> = new Set(),
): readonly CompileFinding[] {
  const { namespace, name } = endpoint.metadata;
  const findings: CompileFinding[] = [];
  const outdated = tolerated.has('outdated-certificate');
  const report = (severity: CompileFinding['severity'], field: string, reason: string, message: string): void => {
    findings.push({ severity, kind: 'ClientVpnEndpoint', namespace, name, field, reason, message });
  };
  const look = <T>(found: Found<T> | null, field: string, missing: string, judge: (facts: T) => void): void => {
    if (found?.kind === 'missing') report(found.what === 'object' ? 'warning' : 'error', field, missing, found.message);
    else if (found !== null) judge(found.facts);
  };
  look(facts.serverCertificate, 'spec.serverCertificate.secretRef.name', 'SecretNotFound', ({ state, message }) => {
    if (state === 'Valid') return;
    const isWarning = state === 'ExpiringSoon' || ((state === 'Expired' || state === 'NotYetValid') && outdated);
    report(isWarning ? 'warning' : 'error', 'spec.serverCertificate.secretRef.name', state, message);
  });
  look(facts.clientCa, 'spec.authentication.mutual.clientCA', 'ClientCANotFound', ({ state, message }) => {
    if (state === 'Valid') return;
    const isWarning = state !== 'ParseError' && outdated;
    report(isWarning ? 'warning' : 'error', 'spec.authentication.mutual.clientCA', state, message);
  });
  const list = 'spec.clientCertificateRevocationList.source';
  look(facts.revocationList, list, 'SourceNotFound', ({ state, message }) => {
    if (state === 'Valid' || state === 'NotConfigured') return;
    const isCaElsewhere = facts.clientCa?.kind === 'missing' && facts.clientCa.what === 'object';
    if (state === 'BadSignature' && isCaElsewhere)
      report('warning', list, state, 'the signature can not be checked without the client CA');
    else report(tolerated.has('unusable-list') ? 'warning' : 'error', list, state, message);
  });
  const isNamed = endpoint.spec.controlWrapSecretRef !== undefined;
  const wrap = isNamed ? 'spec.controlWrapSecretRef.name' : 'spec.controlWrapSecretRef';
  look(facts.controlWrapKey, wrap, 'SecretNotFound', ({ isUsable }) => {
    const message = `the Secret's key is not one for ${endpoint.spec.controlWrap}`;
    if (!isUsable) report('error', wrap, 'KeyUnusable', message);
  });
  return findings;
}
