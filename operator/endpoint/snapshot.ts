import type { EndpointSnapshot, SnapshotRoute, SnapshotRule } from '../../api/endpoint-snapshot.ts';
import { endpointId } from '../../api/names.ts';
import { snapshotDigest, type SnapshotContent } from '../../api/snapshot-digest.ts';
import type { AuthorizationRule } from '../../api/v1alpha1/generated/authorization-rule.ts';
import type { ClientVpnEndpoint } from '../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { IdentityProvider } from '../../api/v1alpha1/generated/identity-provider.ts';
import type { Route } from '../../api/v1alpha1/generated/route.ts';
import type { TargetNetwork } from '../../api/v1alpha1/generated/target-network.ts';
import { prefixSize } from '../../net/ipv4-prefix.ts';
import { maxConnections } from './checks/quotas.ts';
import { compareText, prefixOf } from './checks/verdict.ts';

/** Network address, broadcast address and the gateway's own. */
const RESERVED_ADDRESSES = 3;

/** @returns the rules as data planes read them, sorted by name. */
export function snapshotRules(rules: readonly AuthorizationRule[]): readonly SnapshotRule[] {
  return rules
    .map((rule) => ({
      name: rule.metadata.name,
      cidr: rule.spec.destinationCIDR,
      allUsers: rule.spec.access.allUsers === true,
      groupID: rule.spec.access.groupID ?? null,
    }))
    .toSorted((a, b) => compareText(a.name, b.name));
}

/** @returns the routes of each target network, sorted by destination; Local ones are in all of them. */
export function snapshotRouting(
  networks: readonly TargetNetwork[],
  routes: readonly Route[],
): Readonly<Record<string, readonly SnapshotRoute[]>> {
  const ordered = networks.toSorted((a, b) => compareText(a.metadata.name, b.metadata.name));
  return Object.fromEntries(
    ordered.map(({ metadata }) => {
      const own = routes.filter((route) =>
        [undefined, metadata.name].includes(route.spec.target.targetNetworkRef?.name),
      );
      return [metadata.name, own.map(snapshotRoute).toSorted(byDestination)];
    }),
  );
}

function snapshotRoute(route: Route): SnapshotRoute {
  return { name: route.metadata.name, cidr: route.spec.destinationCIDR, via: route.spec.target.type };
}

function byDestination(a: SnapshotRoute, b: SnapshotRoute): number {
  const left = prefixOf(a.cidr);
  const right = prefixOf(b.cidr);
  return left.address - right.address || left.length - right.length || compareText(a.name, b.name);
}

export interface SnapshotParts {
  readonly endpoint: ClientVpnEndpoint;
  readonly provider: IdentityProvider | undefined;
  readonly networks: readonly TargetNetwork[];
  readonly rules: EndpointSnapshot['rules'];
  readonly routing: EndpointSnapshot['routing'];
}

export function snapshotContent(parts: SnapshotParts): SnapshotContent {
  const { endpoint, provider } = parts;
  const { metadata, spec } = endpoint;
  const banner = spec.clientLoginBanner?.enabled === true ? (spec.clientLoginBanner.text ?? null) : null;
  const mfa = provider?.spec.local?.mfa;
  return {
    formatVersion: 1,
    endpoint: { namespace: metadata.namespace, name: metadata.name, id: endpointId(metadata) },
    acceptNew: metadata.deletionTimestamp === undefined,
    transport: spec.transport,
    port: spec.port,
    controlWrap: spec.controlWrap,
    clientCIDR: spec.clientCIDR,
    authentication: {
      mutual: spec.authentication.mutual !== undefined,
      identityProvider:
        provider === undefined
          ? null
          : { name: provider.metadata.name, type: 'Local', mfa: mfa?.enabled === true ? { prompt: mfa.prompt } : null },
    },
    push: {
      splitTunnel: spec.splitTunnel,
      dnsServers: spec.dnsServers ?? [],
      blockLocal: spec.blockLocal,
      banner,
    },
    session: { timeoutHours: spec.sessionTimeoutHours, disconnectOnTimeout: spec.disconnectOnSessionTimeout },
    connectionLogging: {
      enabled: spec.connectionLogging?.enabled ?? false,
      group: spec.connectionLogging?.group ?? null,
      stream: spec.connectionLogging?.stream ?? null,
    },
    resetPolicy: spec.resetPolicy,
    drainSeconds: spec.dataPlane.drainSeconds,
    rules: parts.rules,
    routing: parts.routing,
    maxConnections: maxConnections(parts.networks.length, prefixSize(prefixOf(spec.clientCIDR)) - RESERVED_ADDRESSES),
  };
}

/** Numbers and dates the content: one that says what `previous` said stays that snapshot. */
export function versioned(
  content: SnapshotContent,
  previous: EndpointSnapshot | null,
  epoch: number,
  compiledAt: string,
): EndpointSnapshot {
  const digest = snapshotDigest(content);
  if (previous?.digest === digest && previous.epoch === epoch) return previous;
  const version = previous === null ? 1 : previous.version + (previous.digest === digest ? 0 : 1);
  return { ...content, epoch, version, digest, compiledAt };
}
