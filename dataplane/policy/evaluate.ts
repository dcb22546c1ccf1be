import { InternalError } from '../../net/errors.ts';
import type { Ipv4 } from '../../net/ipv4.ts';
import { POLICY_FORMAT, PolicyHeader, Section } from './policy-tables.ts';
import { findOwner } from './prefix-ranges.ts';

export type AccessVerdict = 'Allowed' | 'NoRoute' | 'NoRule' | 'NotGranted' | 'SpecialDestination';

/** What `evaluate` found out. Indices lead back to the names in the PolicySource; −1 for none. */
export interface Evaluation {
  verdict: AccessVerdict;
  /** Into PolicySource.routes. */
  routeIndex: number;
  /** For `rulesAtPrefix`. */
  rulePrefixIndex: number;
  /** How an allowed packet leaves; null unless allowed. */
  via: 'TargetNetwork' | 'Local' | null;
}

export function emptyEvaluation(): Evaluation {
  return { verdict: 'NoRoute', routeIndex: -1, rulePrefixIndex: -1, via: null };
}

/**
 * Reads a compiled policy. There is no other evaluation: engine, `explain` and tests use this one.
 *
 * A packet passes only if the longest route that matches leads somewhere, and a rule at the single longest
 * prefix that has any rule grants all users or one of the groups. No fall-back to a shorter prefix.
 * Inside the client network only a Local route leads anywhere, and only all-users rules count.
 */
export class PolicyView {
  readonly epoch: number;
  readonly #clientNetwork: number;
  readonly #clientMask: number;
  readonly #gateway: number;
  readonly #routeStarts: Uint32Array;
  readonly #routeOwners: Int32Array;
  readonly #routeIsLocal: Int32Array;
  readonly #ruleStarts: Uint32Array;
  readonly #ruleOwners: Int32Array;
  readonly #allUsersStarts: Uint32Array;
  readonly #allUsersOwners: Int32Array;
  readonly #prefixAllUsers: Int32Array;
  readonly #prefixGroups: Int32Array;
  readonly #groupIds: Int32Array;
  readonly #prefixRules: Int32Array;
  readonly #ruleIndices: Int32Array;

  /** @throws InternalError when `shared` was not made by compilePolicy of this version. */
  constructor(shared: SharedArrayBuffer) {
    const words = new Int32Array(shared);
    if (words[PolicyHeader.Format] !== POLICY_FORMAT) {
      throw new InternalError(`Policy table has format ${words[PolicyHeader.Format]}, expected ${POLICY_FORMAT}`);
    }
    const at = (section: number): number => words[PolicyHeader.Sections + 2 * section];
    const size = (section: number): number => words[PolicyHeader.Sections + 2 * section + 1];
    const signed = (section: number): Int32Array => new Int32Array(shared, at(section) * 4, size(section));
    const unsigned = (section: number): Uint32Array => new Uint32Array(shared, at(section) * 4, size(section));
    this.epoch = words[PolicyHeader.Epoch];
    this.#clientNetwork = words[PolicyHeader.ClientNetwork];
    this.#clientMask = words[PolicyHeader.ClientMask];
    this.#gateway = words[PolicyHeader.Gateway];
    this.#routeStarts = unsigned(Section.RouteStarts);
    this.#routeOwners = signed(Section.RouteOwners);
    this.#routeIsLocal = signed(Section.RouteIsLocal);
    this.#ruleStarts = unsigned(Section.RuleStarts);
    this.#ruleOwners = signed(Section.RuleOwners);
    this.#allUsersStarts = unsigned(Section.AllUsersStarts);
    this.#allUsersOwners = signed(Section.AllUsersOwners);
    this.#prefixAllUsers = signed(Section.PrefixAllUsers);
    this.#prefixGroups = signed(Section.PrefixGroups);
    this.#groupIds = signed(Section.GroupIds);
    this.#prefixRules = signed(Section.PrefixRules);
    this.#ruleIndices = signed(Section.RuleIndices);
  }

  /**
   * Decides about one destination for one set of groups. Allocates nothing.
   *
   * @param destination the same 32 bits, signed or unsigned.
   * @param groups ascending ids of the same GroupInterner.
   */
  evaluate(destination: Ipv4, groups: Int32Array, into: Evaluation): void {
    const address = destination | 0;
    into.via = null;
    into.routeIndex = -1;
    into.rulePrefixIndex = -1;
    if (address === this.#gateway || isSpecialAddress(address)) {
      into.verdict = 'SpecialDestination';
      return;
    }
    const route = findOwner(this.#routeStarts, this.#routeOwners, address);
    into.routeIndex = route;
    const toClient = (address & this.#clientMask) === this.#clientNetwork;
    if (route < 0 || (this.#routeIsLocal[route] === 1) !== toClient) {
      into.verdict = 'NoRoute';
      return;
    }
    const prefix = toClient
      ? findOwner(this.#allUsersStarts, this.#allUsersOwners, address)
      : findOwner(this.#ruleStarts, this.#ruleOwners, address);
    into.rulePrefixIndex = prefix;
    if (prefix < 0) {
      into.verdict = 'NoRule';
    } else if (this.#prefixAllUsers[prefix] === 1 || this.#grantsAny(prefix, groups)) {
      into.verdict = 'Allowed';
      into.via = toClient ? 'Local' : 'TargetNetwork';
    } else {
      into.verdict = 'NotGranted';
    }
  }

  /** Indices into PolicySource.rules of all rules at a deciding prefix. */
  rulesAtPrefix(rulePrefixIndex: number): number[] {
    if (rulePrefixIndex < 0 || rulePrefixIndex >= this.#prefixAllUsers.length) return [];
    const from = this.#prefixRules[rulePrefixIndex];
    return Array.from(this.#ruleIndices.subarray(from, this.#prefixRules[rulePrefixIndex + 1]));
  }

  /** Both lists ascend: one walk. At most 200 groups a user, so bounded by the rules at one prefix. */
  #grantsAny(prefix: number, groups: Int32Array): boolean {
    const end = this.#prefixGroups[prefix + 1];
    let granted = this.#prefixGroups[prefix];
    let held = 0;
    while (granted < end && held < groups.length) {
      const difference = this.#groupIds[granted] - groups[held];
      if (difference === 0) return true;
      if (difference < 0) granted++;
      else held++;
    }
    return false;
  }
}

/** 0/8, 127/8, 169.254/16 (cloud credentials), 224/4 and 240/4: never reachable through the tunnel, whatever the rules. */
export function isSpecialAddress(address: number): boolean {
  const first = address >>> 24;
  return first === 0 || first === 127 || first >= 224 || address >>> 16 === 0xa9fe;
}
