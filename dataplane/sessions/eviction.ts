/** What speaks for and against one handshake when there is no room for all. */
export interface Standing {
  /** It has finished TLS: more than a flood can pretend. */
  readonly isAdvanced: boolean;
  /** Unfinished handshakes of the same network, itself included. */
  readonly crowd: number;
}

/**
 * Chooses who gives way: rather somebody without TLS than with, rather one of many from a network than one alone, rather
 * the older. A flood therefore throws out itself. Only the oldest few are looked at, so that a choice costs the same
 * however many there are.
 */
export function chooseVictim<T>(oldestFirst: Iterable<T>, standingOf: (candidate: T) => Standing): T | undefined {
  let victim: T | undefined;
  let worst: Standing | undefined;
  let seen = 0;
  for (const candidate of oldestFirst) {
    const standing = standingOf(candidate);
    if (worst === undefined || isWorse(standing, worst)) [victim, worst] = [candidate, standing];
    seen += 1;
    if (seen === CANDIDATES) break;
  }
  return victim;
}

function isWorse(a: Standing, b: Standing): boolean {
  return a.isAdvanced === b.isAdvanced ? a.crowd > b.crowd : b.isAdvanced;
}

const CANDIDATES = 64;
