import type { DataPlaneMemory } from '../dataplane/process-messages.ts';
import { parseIpv4 } from '../net/ipv4.ts';
import { prefixContainsAddress, type Ipv4Prefix } from '../net/ipv4-prefix.ts';

type Lease = DataPlaneMemory['leases'][number];
type TotpStep = DataPlaneMemory['totpSteps'][number];

export interface Entries<T> {
  readonly kept: readonly T[];
  /** How many were left out: nonsense, or too many. */
  readonly dropped: number;
}

/** One lease of each address of the client network, as far as they have room; what is no list has none. */
export function leasesIn(value: unknown, clientCidr: Ipv4Prefix): Entries<Lease> {
  const read = (entry: unknown): Lease | undefined => leaseFrom(entry, clientCidr);
  return entriesIn(value, read, (lease) => lease.address, LEASES_BYTES_MOST);
}

/** The last step of each user, likewise. */
export function totpStepsIn(value: unknown): Entries<TotpStep> {
  return entriesIn(value, totpStepFrom, (step) => step.user, TOTP_STEPS_BYTES_MOST);
}

/** @param bytesMost of all entries as they are written and told: nonsense may grow on the way, to six bytes for one. */
function entriesIn<T>(
  value: unknown,
  read: (entry: unknown) => T | undefined,
  keyOf: (entry: T) => string,
  bytesMost: number,
): Entries<T> {
  if (!Array.isArray(value)) return { kept: [], dropped: 0 };
  const kept = new Map<string, T>();
  let bytes = 0;
  for (const one of value as readonly unknown[]) {
    const entry = read(one);
    if (entry === undefined || kept.has(keyOf(entry))) continue;
    bytes += Buffer.byteLength(JSON.stringify(entry)) + 1;
    if (bytes > bytesMost) break;
    kept.set(keyOf(entry), entry);
  }
  return { kept: [...kept.values()], dropped: value.length - kept.size };
}

function leaseFrom(value: unknown, clientCidr: Ipv4Prefix): Lease | undefined {
  if (!isRecord(value)) return undefined;
  const { identity, address, freedAt } = value;
  if (!isName(identity, IDENTITY_BYTES_MOST) || typeof address !== 'string') return undefined;
  if (freedAt !== null && !isFinite(freedAt)) return undefined;
  const parsed = parseIpv4(address);
  const isOurs = parsed !== undefined && prefixContainsAddress(clientCidr, parsed);
  return isOurs ? { identity, address, freedAt } : undefined;
}

function totpStepFrom(value: unknown): TotpStep | undefined {
  if (!isRecord(value)) return undefined;
  const { user, step } = value;
  return isName(user, USER_BYTES_MOST) && isStep(step) ? { user, step } : undefined;
}

function isName(value: unknown, bytesMost: number): value is string {
  return typeof value === 'string' && Buffer.byteLength(value) <= bytesMost;
}

function isFinite(value: unknown): value is number {
  return Number.isFinite(value);
}

function isStep(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** As a users document may have it. */
const USER_BYTES_MOST = 255;
/** Such a name, which JSON may write with six bytes for one, and a common name of 64 characters, in brackets and quotes. */
const IDENTITY_BYTES_MOST = 2_048;
/**
 * A data plane takes 64 MiB to start with, and 24 MiB of them are left to the configuration. 65,536 leases are 6 MiB as a
 * rule, and 50,000 users with the longest names 14 MiB.
 */
const LEASES_BYTES_MOST = 24 * 1024 * 1024;
const TOTP_STEPS_BYTES_MOST = 16 * 1024 * 1024;
