import type { AuthorizationRule } from '../../../api/v1alpha1/generated/authorization-rule.ts';
import type { ClientVpnEndpoint } from '../../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import { prefixContains } from '../../../net/ipv4-prefix.ts';
import { prefixOf, sortOut, type Older, type Rejection, type Sorted } from './verdict.ts';

/** Decides which authorization rules of one endpoint are accepted. */
export function checkAuthorizationRules(
  endpoint: ClientVpnEndpoint,
  rules: readonly AuthorizationRule[],
  quota: number,
): Sorted<AuthorizationRule> {
  return sortOut(
    rules,
    ruleKey,
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

/** Two rules with one key grant the same. */
function ruleKey(rule: AuthorizationRule): string {
  return JSON.stringify([rule.spec.destinationCIDR, rule.spec.access.groupID ?? null]);
}

function rejectDuplicate(rule: AuthorizationRule, older: Older<AuthorizationRule>): Rejection | undefined {
  const twin = older.byKey.get(ruleKey(rule));
  if (twin === undefined) return undefined;
  const message = `rule ${twin.metadata.name} grants the same access to the same destination`;
  return { reason: 'Duplicate', field: 'spec.destinationCIDR', message };
}

function rejectQuota(older: Older<AuthorizationRule>, quota: number): Rejection | undefined {
  if (older.list.length < quota) return undefined;
  const message = `the endpoint has ${quota} rules already, which is its quota (authorization-rules)`;
  return { reason: 'QuotaExceeded', field: 'spec.endpointRef.name', message };
}
