import type { Ipv4 } from '../../net/ipv4.ts';
import { ipv4Mask, type Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import type { PolicyTables } from '../data-channel.ts';
import { prefixKey, rangesFromPrefixes } from './prefix-ranges.ts';

/** Everything that decides about a packet. The order of routes and rules carries no meaning. */
export interface PolicySource {
  readonly clientCidr: Ipv4Prefix;
  /** The gateway's own address inside the tunnel. */
  readonly gatewayAddress: Ipv4;
  readonly routes: readonly PolicyRoute[];
  readonly rules: readonly PolicyRule[];
}

export interface PolicyRoute {
  readonly prefix: Ipv4Prefix;
  readonly via: 'TargetNetwork' | 'Local';
}

/** Grants all users, or the named group; a rule with neither grants no one but still claims its prefix. */
export interface PolicyRule {
  readonly prefix: Ipv4Prefix;
  readonly allUsers: boolean;
  readonly group: string | null;
}

/**
 * Sections of the compiled table, each a run of 32-bit words. The header is FORMAT, epoch, client network,
 * client mask, gateway, then offset and length (words) of each section in this order.
 */
export const Section = {
  /** Route ranges: first addresses, then the index into PolicySource.routes or −1. */
  RouteStarts: 0,
  RouteOwners: 1,
  /** Per route: 1 for Local. */
  RouteIsLocal: 2,
  /** Ranges over every prefix that has a rule; owners are rule-prefix indices. */
  RuleStarts: 3,
  RuleOwners: 4,
  /** The same over prefixes with an all-users rule: what decides inside the client network. */
  AllUsersStarts: 5,
  AllUsersOwners: 6,
  /** Per rule prefix: 1 if a rule grants all users. */
  PrefixAllUsers: 7,
  /** Per rule prefix, and one more: where its group ids begin. */
  PrefixGroups: 8,
  /** Ascending for each prefix. */
  GroupIds: 9,
  /** Per rule prefix, and one more: where its rules begin. */
  PrefixRules: 10,
  /** Indices into PolicySource.rules. */
  RuleIndices: 11,
} as const;
const SECTION_COUNT = 12;
export const POLICY_FORMAT = 0x6376_7001;
export const PolicyHeader = { Format: 0, Epoch: 1, ClientNetwork: 2, ClientMask: 3, Gateway: 4, Sections: 5 } as const;

/** Gives each group name a small number for the life of the process: numbers are compared per packet, never names. */
export class GroupInterner {
  readonly #ids = new Map<string, number>();

  idOf(name: string): number {
    const known = this.#ids.get(name);
    if (known !== undefined) return known;
    const id = this.#ids.size;
    this.#ids.set(name, id);
    return id;
  }

  /** @returns ascending, without duplicates. */
  idsOf(names: Iterable<string>): Int32Array {
    const ids = new Set<number>();
    for (const name of names) ids.add(this.idOf(name));
    return Int32Array.from(ids).sort();
  }
}

/** Compiles routes and rules into one flat shared table; 10,000 rules take a few milliseconds. */
export function compilePolicy(source: PolicySource, interner: GroupInterner, epoch: number): PolicyTables {
  const routes = routeSections(source.routes);
  const rules = ruleSections(source.rules, interner);
  return { epoch, shared: pack(source, epoch, [...routes, ...rules]) };
}

function routeSections(routes: readonly PolicyRoute[]): Words[] {
  const byPrefix = new Map<number, number>();
  routes.forEach((route, index) => {
    const key = prefixKey(route.prefix);
    const known = byPrefix.get(key);
    // Two routes to one prefix are refused by the checks; should both arrive, the one that stays inside wins in any order.
    if (known === undefined || (routes[known].via !== 'Local' && route.via === 'Local')) byPrefix.set(key, index);
  });
  const indices = [...byPrefix.values()];
  const ranges = rangesFromPrefixes(indices.map((index) => routes[index].prefix));
  return [
    ranges.starts,
    ranges.owners.map((owner) => (owner < 0 ? -1 : indices[owner])),
    routes.map((route) => (route.via === 'Local' ? 1 : 0)),
  ];
}

function ruleSections(rules: readonly PolicyRule[], interner: GroupInterner): Words[] {
  const prefixes: RulePrefix[] = [];
  const byPrefix = new Map<number, RulePrefix>();
  rules.forEach((rule, index) => {
    const key = prefixKey(rule.prefix);
    let entry = byPrefix.get(key);
    if (entry === undefined) {
      entry = { prefix: rule.prefix, allUsers: false, groups: [], rules: [] };
      byPrefix.set(key, entry);
      prefixes.push(entry);
    }
    entry.rules.push(index);
    if (rule.allUsers) entry.allUsers = true;
    if (rule.group !== null) entry.groups.push(rule.group);
  });

  const ranges = rangesFromPrefixes(prefixes.map((entry) => entry.prefix));
  const open = prefixes.flatMap((entry, index) => (entry.allUsers ? [index] : []));
  const openRanges = rangesFromPrefixes(open.map((index) => prefixes[index].prefix));
  const groupStarts = [0];
  const groupIds: number[] = [];
  const ruleStarts = [0];
  const ruleIndices: number[] = [];
  for (const entry of prefixes) {
    if (entry.groups.length === 1) groupIds.push(interner.idOf(entry.groups[0]));
    else for (const id of interner.idsOf(entry.groups)) groupIds.push(id);
    groupStarts.push(groupIds.length);
    for (const index of entry.rules) ruleIndices.push(index);
    ruleStarts.push(ruleIndices.length);
  }
  return [
    ranges.starts,
    ranges.owners,
    openRanges.starts,
    openRanges.owners.map((owner) => (owner < 0 ? -1 : open[owner])),
    prefixes.map((entry) => (entry.allUsers ? 1 : 0)),
    groupStarts,
    groupIds,
    ruleStarts,
    ruleIndices,
  ];
}

function pack(source: PolicySource, epoch: number, sections: readonly Words[]): SharedArrayBuffer {
  const headerWords = PolicyHeader.Sections + 2 * SECTION_COUNT;
  const total = sections.reduce((sum, words) => sum + words.length, headerWords);
  const shared = new SharedArrayBuffer(total * 4);
  const table = new Int32Array(shared);
  table[PolicyHeader.Format] = POLICY_FORMAT;
  table[PolicyHeader.Epoch] = epoch;
  table[PolicyHeader.ClientNetwork] = source.clientCidr.address;
  table[PolicyHeader.ClientMask] = ipv4Mask(source.clientCidr.length);
  table[PolicyHeader.Gateway] = source.gatewayAddress;
  let offset = headerWords;
  sections.forEach((words, index) => {
    table[PolicyHeader.Sections + 2 * index] = offset;
    table[PolicyHeader.Sections + 2 * index + 1] = words.length;
    table.set(words, offset);
    offset += words.length;
  });
  return shared;
}

type Words = readonly number[];

interface RulePrefix {
  readonly prefix: Ipv4Prefix;
  allUsers: boolean;
  readonly groups: string[];
  readonly rules: number[];
}
