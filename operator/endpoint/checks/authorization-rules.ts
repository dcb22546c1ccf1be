import type { AuthorizationRule } from '../../../api/v1alpha1/generated/authorization-rule.ts';
import type { ClientVpnEndpoint } from '../../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import { prefixContains } from '../../../net/ipv4-prefix.ts';
import { prefixOf, sortOut, type Rejection, type Sorted } from './verdict.ts';

/** Decides which authorization rules of one endpoint are accepted. */
export function checkAuthorizationRules(
  endpoint: ClientVpnEndpoint,
  rules: readonly AuthorizationRule[],
  quota: number,
): Sorted<AuthorizationRule> {
  return sortOut(
    rules,
    (rule, older) => rejectGroup(endpoint, rule) ?? rejectDuplicate(rule, older) ?? rejectQuota(older, quota),
  );
}

/** Whether somebody who connects to the endpoint can be in a group at all. */
export function knowsGroups(endpoint: ClientVpnEndpoint): boolean {
  const { activeDirectory, federated, local } = endpoint.spec.authentication;
  return activeDirectory !== undefined || federated !== undefined || local !== undefined;
}

function rejectGroup(endpoint: ClientVpnEndpoint, rule: AuthorizationRule): Rejection | undefined {
  if (rule.spec.access.groupID === undefined) return undefined;
  const field = 'spec.access.groupID';
  if (!knowsGroups(endpoint)) {
    const message = 'the endpoint authenticates by certificate only and knows no groups; use allUsers';
    return { reason: 'GroupsNotSupported', field, message };
  }
  const { clientCIDR } = endpoint.spec;
  if (prefixContains(prefixOf(clientCIDR), prefixOf(rule.spec.destinationCIDR))) {
    const message = `groups are not supported between clients (${clientCIDR}); use allUsers`;
    return { reason: 'GroupOnClientCIDR', field, message };
  }
  return undefined;
}

function rejectDuplicate(rule: AuthorizationRule, older: readonly AuthorizationRule[]): Rejection | undefined {
  const twin = older.find(
    (other) =>
      other.spec.destinationCIDR === rule.spec.destinationCIDR &&
      other.spec.access.groupID === rule.spec.access.groupID,
  );
  if (twin === undefined) return undefined;
  const message = `rule ${twin.metadata.name} grants the same access to the same destination`;
  return { reason: 'Duplicate', field: 'spec.destinationCIDR', message };
}

function rejectQuota(older: readonly AuthorizationRule[], quota: number): Rejection | undefined {
  if (older.length < quota) return undefined;
  const message = `the endpoint has ${quota} rules already, which is its quota (authorization-rules)`;
  return { reason: 'QuotaExceeded', field: 'spec.endpointRef.name', message };
}
