import type { SnapshotRoute } from '../../api/endpoint-snapshot.ts';
import { formatIpv4, type Ipv4 } from '../../net/ipv4.ts';
import { ipv4Mask, parseIpv4Prefix, type Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import { gatewayAddressOf } from './address-pool.ts';
import { bannerOptions } from './login-banner.ts';
import { negotiatedPushOptions, type Negotiated } from '../protocol/negotiation.ts';
import { pushProblem, PushReply, type PushResult, type PushUpdate } from '../protocol/push.ts';

/** What every client of an endpoint is told alike. */
export interface PushedNetwork {
  readonly clientCidr: Ipv4Prefix;
  readonly splitTunnel: boolean;
  readonly blockLocal: boolean;
  readonly dnsServers: readonly string[];
  readonly banner: string | null;
  /** The endpoint's whole table: a missing route must fail inside the tunnel, not leak around it. */
  readonly routes: readonly SnapshotRoute[];
}

/** In what clients of different versions read the same options differently. */
export interface ClientDialect {
  readonly knowsDnsOption: boolean;
  /** 2.7 takes `redirect-gateway ipv6` for nothing while its TUN has no IPv6 address; it is told the routes by name. */
  readonly needsIpv6Routes: boolean;
}

/** What one client is told. */
export interface PushedSession {
  readonly tunnelAddress: Ipv4;
  readonly peerId: number;
  readonly transport: 'udp' | 'tcp';
  readonly negotiated: Negotiated;
  readonly dialect: ClientDialect;
  readonly pingS: number;
  readonly pingRestartS: number;
  /** Null when it is what clients assume anyway. */
  readonly renegotiateS: number | null;
  readonly authToken: string | null;
  /** User name to go with the token, when the client sent none. */
  readonly authTokenUser: string | null;
}

/**
 * Builds the messages of one PUSH_REPLY; what a client must act on together comes in the last. `topology` leads because
 * older clients default to net30 and read `ifconfig` by it.
 */
export function pushReplyFor(network: PushedNetwork, session: PushedSession): PushResult {
  return new PushReply()
    .add('topology subnet', `route-gateway ${formatIpv4(gatewayAddressOf(network.clientCidr))}`)
    .add(...networkOptions(network, session.dialect))
    .add(...(network.banner === null ? [] : bannerOptions(network.banner)))
    .add(`ping ${session.pingS}`, `ping-restart ${session.pingRestartS}`)
    .add(...(session.transport === 'udp' ? ['explicit-exit-notify 1'] : []))
    .add(...(session.renegotiateS === null ? [] : [`reneg-sec ${session.renegotiateS}`]))
    .add(...tokenOptions(session))
    .addToLast(`ifconfig ${formatIpv4(session.tunnelAddress)} ${formatIpv4(ipv4Mask(network.clientCidr.length))}`)
    .addToLast(...negotiatedPushOptions(session.negotiated, session.peerId))
    .build();
}

/** The first option that could not be pushed as it is: a configuration error, found before anybody connects. */
export function pushProblemOf(network: PushedNetwork): string | undefined {
  const dialect = { knowsDnsOption: true, needsIpv6Routes: true };
  const banner = network.banner === null ? [] : bannerOptions(network.banner);
  const options = [...networkOptions(network, dialect), ...banner];
  for (const option of options) {
    const problem = pushProblem(option);
    if (problem !== undefined) return `The option to push "${option}" ${problem}`;
  }
  return undefined;
}

/**
 * What a PUSH_UPDATE must say to take a client from `before` to `after`. An option named in an update replaces all its
 * earlier values, so each changed kind comes whole.
 */
export function pushUpdateFor(
  before: PushedNetwork,
  after: PushedNetwork,
  dialect: ClientDialect,
): PushUpdate | undefined {
  const old = byKind(networkOptions(before, dialect));
  const now = byKind(networkOptions(after, dialect));
  const remove = [...old.keys()].filter((kind) => !now.has(kind));
  const set = [...now]
    .filter(([kind, lines]) => lines.join('\n') !== old.get(kind)?.join('\n'))
    .flatMap(([, lines]) => lines);
  return remove.length + set.length === 0 ? undefined : { set, remove };
}

function networkOptions(network: PushedNetwork, dialect: ClientDialect): readonly string[] {
  return [
    ...(network.splitTunnel ? splitTunnelOptions(network) : fullTunnelOptions(network, dialect)),
    ...network.dnsServers.map((server) => `dhcp-option DNS ${server}`),
    ...(dialect.knowsDnsOption && network.dnsServers.length > 0
      ? [`dns server 0 address ${network.dnsServers.join(' ')}`]
      : []),
  ];
}

/**
 * `redirect-gateway ipv6` draws IPv6 into the tunnel and `block-ipv6` answers it there; either alone lets it out
 * by the LAN.
 */
function fullTunnelOptions({ blockLocal }: PushedNetwork, { needsIpv6Routes }: ClientDialect): readonly string[] {
  return [
    `redirect-gateway def1 ipv6${blockLocal ? ' block-local' : ''}`,
    ...(needsIpv6Routes ? ALL_IPV6.map((prefix) => `route-ipv6 ${prefix}`) : []),
    'block-ipv6',
  ];
}

function splitTunnelOptions(network: PushedNetwork): readonly string[] {
  return [...network.routes.flatMap(routeOption), ...(network.blockLocal ? ['redirect-private block-local'] : [])];
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

/** What `redirect-gateway ipv6` stands for: more specific than any default route, together all addresses in use. */
const ALL_IPV6 = ['::/3', '2000::/4', '3000::/4', 'fc00::/7'];
