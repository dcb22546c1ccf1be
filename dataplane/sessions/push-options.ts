import type { SnapshotRoute } from '../../api/endpoint-snapshot.ts';
import { formatIpv4, type Ipv4 } from '../../net/ipv4.ts';
import { ipv4Mask, parseIpv4Prefix, type Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import { gatewayAddressOf } from './address-pool.ts';
import { bannerOptions } from './login-banner.ts';

/** What every client of an endpoint is told alike. */
export interface PushedNetwork {
  readonly clientCidr: Ipv4Prefix;
  readonly splitTunnel: boolean;
  readonly blockLocal: boolean;
  readonly dnsServers: readonly string[];
  readonly banner: string | null;
  /** The endpoint's whole table: a missing route must fail inside the tunnel, not leak around it (tunnel.md 3.7). */
  readonly routes: readonly SnapshotRoute[];
}

/** What one client is told. */
export interface PushedSession {
  readonly tunnelAddress: Ipv4;
  readonly transport: 'udp' | 'tcp';
  /** Null for clients without DATA_V2. */
  readonly peerId: number | null;
  /** Null for clients that use what their own profile says. */
  readonly cipher: string | null;
  /** `protocol-flags …` and `key-derivation …`, as negotiated. */
  readonly featureOptions: readonly string[];
  /** Null without IV_MTU. */
  readonly tunMtu: number | null;
  readonly understandsDnsOption: boolean;
  readonly pingS: number;
  readonly pingRestartS: number;
  /** Null when it is what clients assume anyway. */
  readonly renegotiateS: number | null;
  readonly authToken: string | null;
  /** User name to go with the token, when the client sent none. */
  readonly authTokenUser: string | null;
}

/**
 * Builds the options of one PUSH_REPLY in the order to send them; those that a client must act on together come last.
 * `topology` leads because older clients default to net30 and read `ifconfig` by it.
 */
export function pushOptionsFor(network: PushedNetwork, session: PushedSession): readonly string[] {
  return [
    'topology subnet',
    `route-gateway ${formatIpv4(gatewayAddressOf(network.clientCidr))}`,
    ...networkOptions(network, session.understandsDnsOption),
    ...(network.banner === null ? [] : bannerOptions(network.banner)),
    `ping ${session.pingS}`,
    `ping-restart ${session.pingRestartS}`,
    ...(session.transport === 'udp' ? ['explicit-exit-notify 1'] : []),
    ...(session.renegotiateS === null ? [] : [`reneg-sec ${session.renegotiateS}`]),
    ...tokenOptions(session),
    `ifconfig ${formatIpv4(session.tunnelAddress)} ${formatIpv4(ipv4Mask(network.clientCidr.length))}`,
    ...(session.peerId === null ? [] : [`peer-id ${session.peerId}`]),
    ...(session.cipher === null ? [] : [`cipher ${session.cipher}`]),
    ...session.featureOptions,
    ...(session.tunMtu === null ? [] : [`tun-mtu ${session.tunMtu}`]),
  ];
}

/**
 * Builds the options of a PUSH_UPDATE that takes a client from `before` to `after`. An option named in an update
 * replaces all its earlier values, so each changed kind comes whole; a leading `-` removes.
 *
 * @returns an empty list when nothing a client must know has changed.
 */
export function updateOptionsFor(
  before: PushedNetwork,
  after: PushedNetwork,
  understandsDnsOption: boolean,
): readonly string[] {
  const old = byKind(networkOptions(before, understandsDnsOption));
  const now = byKind(networkOptions(after, understandsDnsOption));
  const options: string[] = [];
  for (const kind of old.keys()) if (!now.has(kind)) options.push(`-${kind}`);
  for (const [kind, lines] of now) {
    if (lines.join('\n') !== old.get(kind)?.join('\n')) options.push(...lines);
  }
  return options;
}

function networkOptions(network: PushedNetwork, understandsDnsOption: boolean): readonly string[] {
  return [
    ...(network.splitTunnel ? network.routes.flatMap(routeOption) : fullTunnelOptions(network.blockLocal)),
    ...network.dnsServers.map((server) => `dhcp-option DNS ${server}`),
    ...(understandsDnsOption && network.dnsServers.length > 0
      ? [`dns server 0 address ${network.dnsServers.join(' ')}`]
      : []),
  ];
}

/**
 * `redirect-gateway ipv6` draws IPv6 into the tunnel and `block-ipv6` answers it there; either alone lets it out
 * by the LAN (tunnel.md 3.6).
 */
function fullTunnelOptions(blockLocal: boolean): readonly string[] {
  return [`redirect-gateway def1 ipv6${blockLocal ? ' block-local' : ''}`, 'block-ipv6'];
}

function routeOption(route: SnapshotRoute): readonly string[] {
  const prefix = parseIpv4Prefix(route.cidr);
  // Clients' own range is theirs by `ifconfig` already.
  if (prefix === undefined || route.via === 'Local') return [];
  return [`route ${formatIpv4(prefix.address)} ${formatIpv4(ipv4Mask(prefix.length))}`];
}

function tokenOptions(session: PushedSession): readonly string[] {
  if (session.authToken === null) return [];
  const user = session.authTokenUser;
  return [`auth-token ${session.authToken}`, ...(user === null ? [] : [`auth-token-user ${user}`])];
}

function byKind(options: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const kinds = new Map<string, string[]>();
  for (const option of options) {
    const blank = option.indexOf(' ');
    const kind = blank < 0 ? option : option.slice(0, blank);
    const lines = kinds.get(kind);
    if (lines === undefined) kinds.set(kind, [option]);
    else lines.push(option);
  }
  return kinds;
}
