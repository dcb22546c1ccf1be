import type { Namespace } from './netns.ts';

/** Everything of the machine that a gateway may touch. */
export function machineState(namespace: Namespace): Readonly<Record<string, string>> {
  return {
    links: namespace.must('ip', '-o', 'link', 'show').replaceAll(/ (qlen|qdisc) \S+/g, ''),
    addresses: namespace.must('ip', '-o', 'addr', 'show').replaceAll(/(valid|preferred)_lft \S+/g, ''),
    routes: namespace.must('ip', 'route', 'show', 'table', 'all'),
    // Who has had a flow lately is no setting.
    rules: namespace.must('nft', 'list', 'ruleset').replaceAll(/^\s*elements = \{[^}]* ct count over [^}]*\}\n/gm, ''),
    forwarding: namespace.must(
      'sh',
      '-c',
      'grep . /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv6/conf/*/forwarding /proc/sys/net/ipv4/ip_forward',
    ),
  };
}

/** The same without the numbers that each new device and rule gets. */
export function machineStateWithoutNumbers(namespace: Namespace): Readonly<Record<string, string>> {
  const { links = '', addresses = '', ...rest } = machineState(namespace);
  const unnumbered = (text: string): string =>
    text
      .replaceAll(/^\d+: /gm, '')
      .split('\n')
      .sort()
      .join('\n');
  return { links: unnumbered(links), addresses: unnumbered(addresses), ...rest };
}
