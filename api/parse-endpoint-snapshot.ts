import { parseIpv4Prefix } from '../net/ipv4-prefix.ts';
import { parseIpv4 } from '../net/ipv4.ts';
import type { EndpointSnapshot } from './endpoint-snapshot.ts';
import { snapshotDigest } from './snapshot-digest.ts';

export type SnapshotReading =
  | { readonly ok: true; readonly snapshot: EndpointSnapshot }
  /** Where and what, such as `rules[3].cidr: expected an IPv4 prefix`. */
  | { readonly ok: false; readonly reason: string };

/**
 * Checks a snapshot on its way into a data plane: every field, no unknown one, and the digest. Whatever is wrong,
 * the reader keeps the snapshot it has.
 */
export function parseEndpointSnapshot(value: unknown): SnapshotReading {
  const reason = SNAPSHOT(value, '');
  if (reason !== undefined) return { ok: false, reason };
  // Each field of the type was checked.
  const snapshot = value as EndpointSnapshot;
  const digest = snapshotDigest(snapshot);
  if (digest !== snapshot.digest) return { ok: false, reason: `digest: content gives ${digest}` };
  return { ok: true, snapshot };
}

/** @returns what is wrong with the value at `path`, or undefined. */
type Check = (value: unknown, path: string) => string | undefined;

function expected(what: string, holds: (value: unknown) => boolean): Check {
  return (value, path) => (holds(value) ? undefined : `${path}: expected ${what}`);
}

function oneOf(...values: readonly unknown[]): Check {
  return expected(`one of ${values.join(', ')}`, (value) => values.includes(value));
}

function orNull(check: Check): Check {
  return (value, path) => (value === null ? undefined : check(value, path));
}

function listOf(check: Check): Check {
  return (value, path) => {
    if (!Array.isArray(value)) return `${path}: expected a list`;
    return firstProblem(value.map((item: unknown, index) => () => check(item, `${path}[${index}]`)));
  };
}

function recordOf(check: Check): Check {
  return (value, path) => {
    if (!isRecord(value)) return `${path}: expected an object`;
    return firstProblem(
      Object.entries(value).map(
        ([key, member]) =>
          () =>
            check(member, `${path}.${key}`),
      ),
    );
  };
}

function object(fields: Readonly<Record<string, Check>>): Check {
  return (value, path) => {
    if (!isRecord(value)) return `${path || 'snapshot'}: expected an object`;
    const unknown = Object.keys(value).find((key) => !Object.hasOwn(fields, key));
    if (unknown !== undefined) return `${join(path, unknown)}: unknown field`;
    return firstProblem(
      Object.entries(fields).map(
        ([key, check]) =>
          () =>
            check(value[key], join(path, key)),
      ),
    );
  };
}

function firstProblem(checks: readonly (() => string | undefined)[]): string | undefined {
  for (const check of checks) {
    const problem = check();
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const text = expected('text', (value) => typeof value === 'string');
const name = expected('a name', (value) => typeof value === 'string' && value !== '' && value.length <= 255);
const bool = expected('true or false', (value) => typeof value === 'boolean');
const count = expected('a whole number', (value) => Number.isSafeInteger(value) && Number(value) >= 0);
const cidr = expected('an IPv4 prefix', (value) => typeof value === 'string' && parseIpv4Prefix(value) !== undefined);
const address = expected('an IPv4 address', (value) => typeof value === 'string' && parseIpv4(value) !== undefined);
const date = expected('a date', (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value)));
const digest = expected('sha256:…', (value) => typeof value === 'string' && /^sha256:[0-9a-f]{64}$/.test(value));

const rule: Check = (value, path) =>
  object({ name, cidr, allUsers: bool, groupID: orNull(name) })(value, path) ??
  (isRecord(value) && (value['allUsers'] === true) === (value['groupID'] === null)
    ? undefined
    : `${path}: expected either all users or a group`);

const SNAPSHOT = object({
  formatVersion: oneOf(1),
  epoch: count,
  version: count,
  digest,
  compiledAt: date,
  endpoint: object({ namespace: name, name, id: name }),
  acceptNew: bool,
  transport: oneOf('udp', 'tcp'),
  port: oneOf(443, 1194),
  controlWrap: oneOf('None', 'TlsAuth', 'TlsCrypt', 'TlsCryptV2'),
  clientCIDR: cidr,
  authentication: object({
    mutual: bool,
    identityProvider: orNull(object({ name, type: oneOf('Local'), mfa: orNull(object({ prompt: text })) })),
  }),
  push: object({ splitTunnel: bool, dnsServers: listOf(address), blockLocal: bool, banner: orNull(text) }),
  session: object({ timeoutHours: count, disconnectOnTimeout: bool }),
  connectionLogging: object({ enabled: bool, group: orNull(text), stream: orNull(text) }),
  resetPolicy: oneOf('Minimal', 'Guide'),
  drainSeconds: count,
  rules: listOf(rule),
  routing: recordOf(listOf(object({ name, cidr, via: oneOf('TargetNetwork', 'Local') }))),
  maxConnections: count,
});
