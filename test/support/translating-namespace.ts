// Runs in a network namespace of its own: a client's packets, read as JSON (base64) from standard input, are written to
// the tunnel's device, and what the gateway's rules let out to the network is printed.
//
//   tunWrite → cvpn-test (10.77.0.1/22) → rules, forwarding → net-test (192.0.2.1/24) → tunRead
//
// With `without-tunnel` that device is down, and the packets come from lan-test, which is none of the gateway's concern.
// With `without-tracking` somebody else's rules keep everything from being tracked.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { loadAddon } from '../../dataplane/io/load-addon.ts';
import { ruleSetScript } from '../../dataplane/net-setup/rule-set.ts';
import { NativeBatch } from './native-batch.ts';

const PLAN = {
  table: 'cvpn_test',
  tun: 'cvpn-test',
  clientCidr: { address: 0x0a4d0000, length: 22 },
  tunnelAddress: 0x0a4d0001,
  limitsFlows: true,
};

const addon = loadAddon();
const tun = addon.tunOpen({ name: PLAN.tun, multiQueue: true });
const network = addon.tunOpen({ name: 'net-test', multiQueue: true });
ip('addr add 10.77.0.1/22 dev cvpn-test', 'addr add 192.0.2.1/24 dev net-test');
ip('link set lo up', 'link set cvpn-test up', 'link set net-test up');
const isWithoutTunnel = process.argv[2] === 'without-tunnel';
const source = isWithoutTunnel ? addon.tunOpen({ name: 'lan-test', multiQueue: true }) : tun;
if (isWithoutTunnel) ip('addr add 198.51.100.1/24 dev lan-test', 'link set lan-test up', 'link set cvpn-test down');
if (isWithoutTunnel) ip('route add default dev net-test');
writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
execFileSync('nft', ['-f', '-'], { input: ruleSetScript(PLAN, ['net-test']) });
if (process.argv[2] === 'without-tracking') {
  const chain = 'chain early { type filter hook prerouting priority -350; notrack; }';
  execFileSync('nft', ['-f', '-'], { input: `table ip others { ${chain}; }` });
}

const batch = new NativeBatch(addon, { capacity: 64, bytes: 4 << 20, rows: 1 });
const poll = addon.pollCreate();
addon.pollAdd(poll, network.fd, 1, false);
const out: string[] = [];
const packets = (JSON.parse(readFileSync(0, 'utf8')) as readonly string[]).map((text) => Buffer.from(text, 'base64'));
for (let at = 0; at < packets.length; at += 64) {
  const laid = batch.lay(packets.slice(at, at + 64).map((packet) => Uint8Array.from(packet)));
  addon.tunWrite(source.fd, batch.handle, laid, source.uso ? 1 : 0);
  drain(0);
}
drain(500);
process.stdout.write(JSON.stringify(out));

function drain(waitMs: number): void {
  while (addon.pollWait(poll, waitMs, new Int32Array(1), new Uint8Array(1)) > 0) {
    const read = batch.packets(addon.tunRead(network.fd, batch.handle));
    // Router solicitations of the kernel's own are not part of the experiment.
    out.push(...read.filter(([first]) => first >> 4 === 4).map((packet) => Buffer.from(packet).toString('base64')));
  }
}

function ip(...commands: readonly string[]): void {
  for (const command of commands) execFileSync('ip', command.split(' '));
}
