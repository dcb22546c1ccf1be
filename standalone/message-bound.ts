import { type DataPlaneConfig, GROUPS_PER_USER } from '../api/data-plane-config.ts';
import { DEFAULT_LIMITS } from '../dataplane/sessions/engine-options.ts';
import { parseIpv4Prefix, prefixSize } from '../net/ipv4-prefix.ts';

/**
 * Bytes of the longest message that an honest data plane sends with this configuration: every address once leased, every
 * user's code used, or all connections that are and were. Longer ones only cost the parent memory.
 */
export function longestMessageBytes({ snapshot, targetNetwork, secrets }: DataPlaneConfig): number {
  const clientCidr = parseIpv4Prefix(snapshot.clientCIDR);
  const users = secrets.localUsers?.users ?? [];
  const leases = clientCidr === undefined ? 0 : prefixSize(clientCidr);
  const connections = snapshot.maxConnections + DEFAULT_LIMITS.endedConnections + DEFAULT_LIMITS.failedConnections;
  const names = Buffer.byteLength(snapshot.endpoint.name + targetNetwork);
  const groups = users.reduce((most, user) => Math.max(most, bytesOf(user.groups.slice(0, GROUPS_PER_USER))), 0);
  const longest = Math.max(
    leases * IDENTITY_BYTES,
    users.length * IDENTITY_BYTES,
    connections * (CONNECTION_BYTES + names + groups),
  );
  return Math.min(ALL_BYTES_MOST, longest + STRANGERS_BYTES);
}

function bytesOf(groups: readonly string[]): number {
  return Buffer.byteLength(JSON.stringify(groups));
}

/** User name, common name and what is known of them: of 255 and 192 bytes at most, and few are a quarter of that. */
const IDENTITY_BYTES = 512;
/** Without the names of endpoint and target network, and without groups. */
const CONNECTION_BYTES = 1024;
/** Names of failed attempts are whatever a stranger made up: 256 characters that are escaped to six each. */
const STRANGERS_BYTES = 4 * 1024 * 1024;
/** Where a client network of a million addresses or users with hundreds of groups would make it more. */
const ALL_BYTES_MOST = 256 * 1024 * 1024;
