import { formatIpv4, type Ipv4 } from '../../net/ipv4.ts';
import { formatIpv4Prefix, type Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import { TUN_PREFIX } from './gateway-names.ts';

export interface RuleSetPlan {
  readonly table: string;
  readonly tun: string;
  readonly clientCidr: Ipv4Prefix;
  /** The gateway's own address on the TUN. */
  readonly tunnelAddress: Ipv4;
  /** Whether the kernel can count a client's flows: it does with nft_connlimit. */
  readonly limitsFlows: boolean;
}

interface Rule {
  /** Unique; stands beside the rule as its comment, and is what the read-back looks for. */
  readonly name: string;
  readonly text: string;
}

interface Chain {
  readonly name: string;
  readonly hook: string;
  readonly rules: readonly Rule[];
}

/**
 * The script for `nft -f -`: one transaction that replaces the table whole. Every base chain accepts
 * by default and touches only packets from or to our TUN or the client CIDR, or coming in on an
 * interface whose forwarding we switched on.
 */
export function ruleSetScript(plan: RuleSetPlan, switchedInterfaces: readonly string[]): string {
  const elements =
    switchedInterfaces.length === 0 ? '' : ` elements = { ${switchedInterfaces.map(quote).join(', ')} };`;
  const chains = chainsOf(plan).map(
    ({ name, hook, rules }) =>
      `  chain ${name} {\n    type ${hook}; policy accept;\n` +
      rules.map((rule) => `    ${rule.text} comment ${quote(rule.name)}\n`).join('') +
      '  }\n',
  );
  // Adding before deleting makes the deletion succeed whether or not a killed run left the table behind.
  return (
    `add table inet ${plan.table}\ndelete table inet ${plan.table}\n` +
    `table inet ${plan.table} {\n` +
    `  set ${SWITCHED_SET} { type ifname;${elements} }\n` +
    (plan.limitsFlows ? `  set ${FLOWS_SET} { type ipv4_addr; size ${FLOWS_SET_SIZE}; flags dynamic; }\n` : '') +
    `${chains.join('')}}\n`
  );
}

/** Replaces the set of interfaces whose forwarding we switched on, in one transaction. */
export function switchedSetScript(table: string, switchedInterfaces: readonly string[]): string {
  const add = switchedInterfaces.map((name) => `add element inet ${table} ${SWITCHED_SET} { ${quote(name)} }\n`);
  return `flush set inet ${table} ${SWITCHED_SET}\n${add.join('')}`;
}

/** Tells other gateways of this machine that the claims of this one no longer count; the rules still hold. */
export function leavingScript(table: string): string {
  return `add table inet ${table}\nadd set inet ${table} ${LEAVING_SET} { type ifname; }\n`;
}

/** Removes the table whether or not it exists. */
export function removalScript(table: string): string {
  return `add table inet ${table}\ndelete table inet ${table}\n`;
}

/** `chain/rule name` of every rule, in the order of evaluation. */
export function ruleNames(plan: RuleSetPlan): readonly string[] {
  return chainsOf(plan).flatMap((chain) => chain.rules.map((rule) => `${chain.name}/${rule.name}`));
}

function chainsOf(plan: RuleSetPlan): readonly Chain[] {
  const tun = quote(plan.tun);
  const clients = formatIpv4Prefix(plan.clientCidr);
  const self = formatIpv4(plan.tunnelAddress);
  return [
    {
      // Before connection tracking and before anybody's destination NAT: the address a client asked for is what counts.
      name: 'ingress',
      hook: 'filter hook prerouting priority raw',
      rules: [
        { name: 'no IPv6 from clients', text: `iifname ${tun} meta nfproto ipv6 drop` },
        { name: 'foreign source from the tunnel', text: `iifname ${tun} ip saddr != ${clients} drop` },
        { name: 'spoofed client source', text: `iifname != { "lo", ${tun} } ip saddr ${clients} drop` },
        { name: 'ping to the gateway', text: `iifname ${tun} ip daddr ${self} icmp type echo-request accept` },
        { name: 'special destination', text: `iifname ${tun} ip daddr { ${SPECIAL_DESTINATIONS.join(', ')} } drop` },
        { name: 'own address', text: `iifname ${tun} fib daddr type { local, broadcast, multicast } drop` },
      ],
    },
    {
      name: 'local-in',
      hook: 'filter hook input priority filter',
      rules: [
        { name: 'ping', text: `iifname ${tun} ip daddr ${self} icmp type echo-request accept` },
        { name: 'gateway itself', text: `iifname ${tun} drop` },
      ],
    },
    {
      name: 'local-out',
      hook: 'filter hook output priority filter',
      rules: [
        { name: 'no IPv6 to clients', text: `oifname ${tun} meta nfproto ipv6 drop` },
        { name: 'own replies only', text: `oifname ${tun} ct state != { established, related } drop` },
      ],
    },
    {
      name: 'through',
      hook: 'filter hook forward priority filter',
      rules: [
        { name: 'replies only', text: `oifname ${tun} ct state != { established, related } drop` },
        // While there is no TUN, as between two data planes, what others send to clients would take the default route.
        { name: 'past the tunnel', text: `ip daddr ${clients} oifname != ${tun} drop` },
        // What is not tracked is not translated, and would leave with the client's own address.
        { name: 'untracked', text: `iifname ${tun} ct state { invalid, untracked } drop` },
        ...(plan.limitsFlows ? [flowLimit(tun)] : []),
        // What these interfaces forwarded before we came is what they forward now: nothing. Tunnels guard themselves.
        { name: 'no router for others', text: `iifname @${SWITCHED_SET} oifname != "${TUN_PREFIX}*" drop` },
      ],
    },
    {
      name: 'egress',
      hook: 'nat hook postrouting priority srcnat',
      rules: [
        // Left to itself the kernel keeps a client's source port. One that chose ours would get the answers that others
        // send to the gateway (CVE-2021-3773).
        {
          name: 'masquerade ports',
          text: `oifname != ${tun} ip saddr ${clients} meta l4proto { tcp, udp } masquerade to :${CLIENT_PORTS}`,
        },
        { name: 'masquerade', text: `oifname != ${tun} ip saddr ${clients} masquerade` },
      ],
    },
  ];
}

/** Connection tracking and the ports of translation are the machine's: one client must not fill them for all. */
function flowLimit(tun: string): Rule {
  const isNew = `iifname ${tun} ct state new`;
  return {
    name: 'flows of one client',
    text: `${isNew} add @${FLOWS_SET} { ip saddr ct count over ${FLOWS_MOST} } drop`,
  };
}

/** nft's quoted strings know no escapes; the kernel allows a quote in an interface name. */
function quote(text: string): string {
  return `"${text.replaceAll('"', '')}"`;
}

/** This host, loopback, link-local (cloud credentials), multicast, reserved and broadcast. */
const SPECIAL_DESTINATIONS = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4'] as const;
/** Also each gateway's claim on those interfaces: others leave them on. */
export const SWITCHED_SET = 'switched';
export const LEAVING_SET = 'leaving';
const FLOWS_SET = 'flows';
/** As many clients as a client CIDR can have. */
const FLOWS_SET_SIZE = 2 ** 20;
/** Of one client at a time; a seventh of the ports that translation has towards one address and port. */
export const FLOWS_MOST = 4096;
/** The kernel's own range for outgoing connections: nobody expects a service there. */
const CLIENT_PORTS = '32768-60999';
