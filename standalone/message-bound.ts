import { type DataPlaneConfig, GROUPS_PER_USER } from '../api/data-plane-config.ts';
import { type DataPlaneMemory, type DataPlaneMessage, LEASES_TOLD_MOST } from '../dataplane/process-messages.ts';
import { DEFAULT_LIMITS } from '../dataplane/sessions/engine-options.ts';
import { parseIpv4Prefix, prefixSize } from '../net/ipv4-prefix.ts';

/** Bytes of the longest message of each kind. */
export type MessageBounds = Readonly<Record<DataPlaneMessage['kind'], number>>;

/**
 * Of what an honest data plane sends with this configuration: as many addresses leased as it tells, every user's code used,
 * or all connections that are and were. Longer ones only cost the parent memory and time.
 */
export function longestMessages({ snapshot, targetNetwork, secrets }: DataPlaneConfig): MessageBounds {
  const clientCidr = parseIpv4Prefix(snapshot.clientCIDR);
  const users = secrets.localUsers?.users ?? [];
  const leases = clientCidr === undefined ? 0 : Math.min(LEASES_TOLD_MOST, prefixSize(clientCidr));
  const connections = snapshot.maxConnections + DEFAULT_LIMITS.endedConnections + DEFAULT_LIMITS.failedConnections;
  const names = Buffer.byteLength(snapshot.endpoint.name + targetNetwork);
  const groups = users.reduce((most, user) => Math.max(most, bytesOf(user.groups.slice(0, GROUPS_PER_USER))), 0);
  return {
    ...SHORT,
    connections: Math.min(ALL_BYTES_MOST, connections * (CONNECTION_BYTES + names + groups) + STRANGERS_BYTES),
    leases: leases * IDENTITY_BYTES + SHORT_BYTES,
    codesUsed: Math.min(ALL_BYTES_MOST, users.length * IDENTITY_BYTES + SHORT_BYTES),
  };
}

/** Of one that was started with this: it may tell all of it again. */
export function withMemory(bounds: MessageBounds, { leases, totpSteps }: DataPlaneMemory): MessageBounds {
  return {
    ...bounds,
    leases: bounds.leases + bytesOf(leases),
    codesUsed: bounds.codesUsed + bytesOf(totpSteps),
  };
}

/** Of what it was told last and of what it is told now, since it remembers: of each kind the longer one. */
export function longerOf(one: MessageBounds, other: MessageBounds): MessageBounds {
  const kinds = Object.keys(one) as (keyof MessageBounds)[];
  return Object.fromEntries(kinds.map((kind) => [kind, Math.max(one[kind], other[kind])])) as MessageBounds;
}

function bytesOf(value: readonly unknown[]): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** Reasons are sentences; the other kinds are shorter still. */
const SHORT_BYTES = 64 * 1024;
const SHORT: Omit<MessageBounds, 'connections' | 'leases' | 'codesUsed'> = {
  ready: SHORT_BYTES,
  failed: SHORT_BYTES,
  applied: SHORT_BYTES,
  rejected: SHORT_BYTES,
  terminated: SHORT_BYTES,
};
/** User name, common name and what is known of them: of 255 and 192 bytes at most, and few are a quarter of that. */
const IDENTITY_BYTES = 512;
/** Without the names of endpoint and target network, and without groups. */
const CONNECTION_BYTES = 1024;
/** Names of failed attempts are whatever a stranger made up: 256 characters that are escaped to six each. */
const STRANGERS_BYTES = 4 * 1024 * 1024;
/** Where users with hundreds of groups or a client network of a million addresses would make it more. */
const ALL_BYTES_MOST = 256 * 1024 * 1024;
