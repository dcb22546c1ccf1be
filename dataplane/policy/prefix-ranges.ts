import type { Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import { prefixSize } from '../../net/ipv4-prefix.ts';

/** Disjoint address ranges: range i begins at `starts[i]`, ends before `starts[i + 1]`, and belongs to `owners[i]`. */
export interface PrefixRanges {
  /** Ascending; the first is 0. */
  readonly starts: readonly number[];
  /** Index of the longest prefix that covers the range, −1 for none. */
  readonly owners: readonly number[];
}

/**
 * Flattens prefixes that may nest into ranges that do not, so that longest-prefix match becomes one
 * binary search: at most 2n + 1 ranges for n prefixes, whatever their lengths.
 *
 * @param prefixes without duplicates, in any order; owners are indices into it.
 */
export function rangesFromPrefixes(prefixes: readonly Ipv4Prefix[]): PrefixRanges {
  const indexOf = new Map<number, number>();
  const keys = new Float64Array(prefixes.length);
  prefixes.forEach((prefix, index) => {
    keys[index] = prefixKey(prefix);
    indexOf.set(keys[index], index);
  });
  // By address, then length: parents stand before children, and nested prefixes form a stack.
  keys.sort();
  const starts: number[] = [0];
  const owners: number[] = [-1];
  const open: { end: number; owner: number }[] = [];

  const begin = (start: number, owner: number): void => {
    if (start >= ADDRESS_SPACE) return;
    const last = starts.length - 1;
    if (starts[last] === start) {
      owners[last] = owner;
    } else if (owners[last] !== owner) {
      starts.push(start);
      owners.push(owner);
    }
  };
  const closeUntil = (start: number): void => {
    for (let top = open.at(-1); top !== undefined && top.end <= start; top = open.at(-1)) {
      open.pop();
      begin(top.end, open.at(-1)?.owner ?? -1);
    }
  };

  for (const key of keys) {
    const index = indexOf.get(key) ?? -1;
    const prefix = prefixes[index];
    closeUntil(prefix.address);
    begin(prefix.address, index);
    open.push({ end: prefix.address + prefixSize(prefix), owner: index });
  }
  closeUntil(ADDRESS_SPACE);
  return { starts, owners };
}

/** One number for address and length: 2^38 values, exact in a double, ascending by address and then length. */
export function prefixKey(prefix: Ipv4Prefix): number {
  return prefix.address * 64 + prefix.length;
}

/**
 * The owner of the range that holds `address`; −1 for none. At most 32 steps.
 *
 * @param starts as unsigned words; @param address any 32-bit number, signed or not.
 */
export function findOwner(starts: Uint32Array, owners: Int32Array, address: number): number {
  const wanted = address >>> 0;
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (starts[middle] <= wanted) low = middle;
    else high = middle - 1;
  }
  return owners[low];
}

const ADDRESS_SPACE = 2 ** 32;
