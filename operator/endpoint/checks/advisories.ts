import type { AuthorizationRule } from '../../../api/v1alpha1/generated/authorization-rule.ts';
import type { ClientVpnEndpoint } from '../../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { Route } from '../../../api/v1alpha1/generated/route.ts';
import type { TargetNetwork } from '../../../api/v1alpha1/generated/target-network.ts';
import {
  formatIpv4Prefix,
  ipv4Mask,
  prefixContains,
  prefixesOverlap,
  type Ipv4Prefix,
} from '../../../net/ipv4-prefix.ts';
import { compareText, prefixOf, type Advisory } from './verdict.ts';

/** A destination that one target network can be asked for and another can't. */
export interface RouteGap {
  readonly targetNetwork: string;
  readonly destination: string;
}

/** Every destination that some, but not all, accepted target networks have a route to. */
export function routeGaps(networks: readonly TargetNetwork[], routes: readonly Route[]): readonly RouteGap[] {
  const present = new Map<string, Set<string>>();
  for (const route of routes) {
    const network = route.spec.target.targetNetworkRef?.name;
    if (network === undefined) continue;
    const holders = present.get(route.spec.destinationCIDR) ?? new Set();
    present.set(route.spec.destinationCIDR, holders.add(network));
  }
  const gaps = [...present].flatMap(([destination, holders]) =>
    networks
      .map((network) => network.metadata.name)
      .filter((name) => !holders.has(name))
      .map((targetNetwork) => ({ targetNetwork, destination })),
  );
  return gaps.toSorted(
    (a, b) => compareText(a.targetNetwork, b.targetNetwork) || compareText(a.destination, b.destination),
  );
}

/** What to know about an accepted route. */
export function routeAdvisories(
  endpoint: ClientVpnEndpoint,
  route: Route,
  gaps: readonly RouteGap[],
): readonly Advisory[] {
  if (route.spec.target.type === 'Local') return [];
  const field = 'spec.destinationCIDR';
  const { destinationCIDR } = route.spec;
  const advisories: Advisory[] = [];
  if (destinationCIDR === '0.0.0.0/0' && endpoint.spec.splitTunnel) {
    const message = 'with split tunnel a default route draws all traffic into the tunnel after all';
    advisories.push({ reason: 'DefaultRouteWithSplitTunnel', field, message });
  }
  const missing = gaps.filter((gap) => gap.destination === destinationCIDR).map((gap) => gap.targetNetwork);
  if (missing.length > 0) {
    const message = `target networks without a route to ${destinationCIDR}: ${missing.join(', ')}`;
    advisories.push({ reason: 'NotPresentOnAllTargetNetworks', field, message });
  }
  return advisories;
}

/** What to know about each accepted rule, by its name. Rules without advisories are left out. */
export function ruleAdvisories(
  endpoint: ClientVpnEndpoint,
  rules: readonly AuthorizationRule[],
  routes: readonly Route[],
): ReadonlyMap<string, readonly Advisory[]> {
  const client = prefixOf(endpoint.spec.clientCIDR);
  const destinations = routes.map((route) => ({
    prefix: prefixOf(route.spec.destinationCIDR),
    isLocal: route.spec.target.type === 'Local',
  }));
  const grants = grantsByPrefix(rules);
  const result = new Map<string, readonly Advisory[]>();
  for (const rule of rules) {
    const prefix = prefixOf(rule.spec.destinationCIDR);
    const advisories: Advisory[] = [];
    const inside = prefixContains(client, prefix);
    if (!destinations.some((to) => prefixesOverlap(to.prefix, prefix) && (to.isLocal || !inside))) {
      const message = `no route leads to ${rule.spec.destinationCIDR}`;
      advisories.push({ reason: 'NoRoute', field: 'spec.destinationCIDR', message });
    }
    const shadowed = inside ? undefined : shadowedGrant(prefix, grants);
    if (shadowed !== undefined) advisories.push(shadowed);
    if (advisories.length > 0) result.set(rule.metadata.name, advisories);
  }
  return result;
}

/** Who is granted a prefix: group ids, and `null` for all users. */
type Grants = ReadonlyMap<string, ReadonlySet<string | null>>;

function grantsByPrefix(rules: readonly AuthorizationRule[]): Grants {
  const grants = new Map<string, Set<string | null>>();
  for (const rule of rules) {
    const granted = grants.get(rule.spec.destinationCIDR) ?? new Set();
    grants.set(rule.spec.destinationCIDR, granted.add(rule.spec.access.groupID ?? null));
  }
  return grants;
}

/** The next wider prefix with rules, if somebody is granted there who is not granted at `prefix`. */
function shadowedGrant(prefix: Ipv4Prefix, grants: Grants): Advisory | undefined {
  const here = grants.get(formatIpv4Prefix(prefix));
  if (here === undefined || here.has(null)) return undefined;
  for (let length = prefix.length - 1; length >= 0; length -= 1) {
    const wider = formatIpv4Prefix({ address: (prefix.address & ipv4Mask(length)) >>> 0, length });
    const there = grants.get(wider);
    if (there === undefined) continue;
    const losers = [...there].filter((grantee) => !here.has(grantee));
    if (losers.length === 0) return undefined;
    const who = losers.map((grantee) => (grantee === null ? 'all other users' : `group ${grantee}`)).join(', ');
    const message = `the rules for ${formatIpv4Prefix(prefix)} take it away from those granted ${wider}: ${who}`;
    return { reason: 'ShadowsAllUsers', field: 'spec.destinationCIDR', message };
  }
  return undefined;
}
