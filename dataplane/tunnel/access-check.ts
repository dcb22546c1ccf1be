import { emptyEvaluation, type AccessVerdict, type PolicyView } from '../policy/evaluate.ts';
import { DropReason } from './drop-reason.ts';

/** The answer of AccessCheck: one of these, or a DropReason. */
export const ACCESS_NETWORK = -1;
export const ACCESS_CLIENT = -2;

/**
 * The policy's answer for one peer and one address, remembered in a direct-mapped table of fixed size: a new flow
 * may push an old one out, and nothing is ever cleared. Entries of another policy epoch, peer or group set do not match.
 */
export class AccessCheck {
  readonly #memo = new Int32Array(ENTRIES * WORDS);
  readonly #evaluation = emptyEvaluation();
  #policy: PolicyView | undefined;

  setPolicy(policy: PolicyView): void {
    this.#policy = policy;
  }

  /**
   * @param stamp of the peer and its groups, never 0. @param address the other end: destination of a packet from the
   * client, source of a packet to it. @returns ACCESS_NETWORK, ACCESS_CLIENT or a DropReason.
   */
  decide(stamp: number, groups: Int32Array, address: number): number {
    const policy = this.#policy;
    if (policy === undefined) return DropReason.NoPolicy;
    const memo = this.#memo;
    const at = ((Math.imul(address ^ Math.imul(stamp, 0x85ebca6b), 0x9e3779b1) >>> SHIFT) * WORDS) | 0;
    if (memo[at] === stamp && memo[at + 1] === address && memo[at + 2] === policy.epoch) return memo[at + 3];
    policy.evaluate(address, groups, this.#evaluation);
    const answer = answerFor(this.#evaluation.verdict, this.#evaluation.via === 'Local');
    memo[at] = stamp;
    memo[at + 1] = address;
    memo[at + 2] = policy.epoch;
    memo[at + 3] = answer;
    return answer;
  }
}

function answerFor(verdict: AccessVerdict, isLocal: boolean): number {
  switch (verdict) {
    case 'Allowed':
      return isLocal ? ACCESS_CLIENT : ACCESS_NETWORK;
    case 'NoRoute':
      return DropReason.NoRoute;
    case 'NoRule':
      return DropReason.NoRule;
    case 'NotGranted':
      return DropReason.NotGranted;
    case 'SpecialDestination':
      return DropReason.SpecialDestination;
  }
}

const ENTRY_BITS = 14;
const ENTRIES = 1 << ENTRY_BITS;
const SHIFT = 32 - ENTRY_BITS;
const WORDS = 4;
