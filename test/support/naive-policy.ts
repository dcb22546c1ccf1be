import { prefixContainsAddress, type Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import type { AccessVerdict } from '../../dataplane/policy/evaluate.ts';
import type { PolicySource } from '../../dataplane/policy/policy-tables.ts';

/** The evaluation as a person would do it by hand, list in hand: no tables, no numbers for groups. */
export function naiveEvaluate(source: PolicySource, destination: number, groups: ReadonlySet<string>): AccessVerdict {
  if (destination === source.gatewayAddress) return 'SpecialDestination';
  if (SPECIAL.some((prefix) => prefixContainsAddress(prefix, destination))) return 'SpecialDestination';
  const isClient = prefixContainsAddress(source.clientCidr, destination);
  const routeLength = longest(source.routes, destination);
  const routes = source.routes.filter(
    (route) => route.prefix.length === routeLength && prefixContainsAddress(route.prefix, destination),
  );
  if (routes.length === 0) return 'NoRoute';
  const isLocal = routes.some((route) => route.via === 'Local');
  if (isLocal !== isClient) return 'NoRoute';
  const counting = isClient ? source.rules.filter((rule) => rule.allUsers) : source.rules;
  const ruleLength = longest(counting, destination);
  const deciding = counting.filter(
    (rule) => rule.prefix.length === ruleLength && prefixContainsAddress(rule.prefix, destination),
  );
  if (deciding.length === 0) return 'NoRule';
  const isGranted = deciding.some((rule) => rule.allUsers || (rule.group !== null && groups.has(rule.group)));
  return isGranted ? 'Allowed' : 'NotGranted';
}

function longest(entries: readonly { readonly prefix: Ipv4Prefix }[], destination: number): number {
  return entries
    .filter(({ prefix }) => prefixContainsAddress(prefix, destination))
    .reduce((best, { prefix }) => Math.max(best, prefix.length), -1);
}

const SPECIAL: readonly Ipv4Prefix[] = [
  { address: 0, length: 8 },
  { address: 0x7f000000, length: 8 },
  { address: 0xa9fe0000, length: 16 },
  { address: 0xe0000000, length: 4 },
  { address: 0xf0000000, length: 4 },
];
