import type { AdvisoryReason, RejectionReason } from '../../../api/conditions.ts';
import type { ObjectMeta } from '../../../api/v1alpha1/object-meta.ts';
import { InternalError } from '../../../net/errors.ts';
import { parseIpv4Prefix, type Ipv4Prefix } from '../../../net/ipv4-prefix.ts';

/** Why an object is not accepted. `field` is the one to change. */
export interface Rejection {
  readonly reason: RejectionReason;
  readonly field: string;
  readonly message: string;
}

/** Something worth knowing about an accepted object. */
export interface Advisory {
  readonly reason: AdvisoryReason;
  readonly field: string;
  readonly message: string;
}

/** The accepted objects, oldest first, and the others with their reasons by name. */
export interface Sorted<T> {
  readonly accepted: readonly T[];
  readonly rejected: ReadonlyMap<string, Rejection>;
}

/** The objects accepted so far. */
export interface Older<T> {
  readonly list: readonly T[];
  /** By the key under which two objects would decide about the same thing. */
  readonly byKey: ReadonlyMap<string, T>;
}

/** Decides each object in order of seniority: `check` sees the older ones that were accepted. */
export function sortOut<T extends { readonly metadata: ObjectMeta }>(
  objects: readonly T[],
  keyOf: (object: T) => string,
  check: (object: T, older: Older<T>) => Rejection | undefined,
): Sorted<T> {
  const accepted: T[] = [];
  const byKey = new Map<string, T>();
  const rejected = new Map<string, Rejection>();
  for (const object of objects.toSorted(bySeniority)) {
    const rejection = check(object, { list: accepted, byKey });
    if (rejection === undefined) {
      accepted.push(object);
      byKey.set(keyOf(object), object);
    } else {
      rejected.set(object.metadata.name, rejection);
    }
  }
  return { accepted, rejected };
}

/** Oldest creation time first, then by name; objects of files have no time and go by name. */
export function bySeniority(a: { readonly metadata: ObjectMeta }, b: { readonly metadata: ObjectMeta }): number {
  return creationTime(a) - creationTime(b) || compareText(a.metadata.name, b.metadata.name);
}

function creationTime(object: { readonly metadata: ObjectMeta }): number {
  const time = Date.parse(object.metadata.creationTimestamp ?? '');
  return Number.isNaN(time) ? 0 : time;
}

export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** @throws InternalError: schema and CEL come before every check, so that text here is a prefix. */
export function prefixOf(cidr: string): Ipv4Prefix {
  const prefix = parseIpv4Prefix(cidr);
  if (prefix === undefined) throw new InternalError(`${JSON.stringify(cidr)} reached the checks but is no IPv4 prefix`);
  return prefix;
}
