import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LogLines } from '../support/log-lines.ts';
import { LabError } from '../support/netns.ts';
import { StockClient } from '../support/stock-client.ts';
import { DEFAULT_BUFFER_BYTES, socketBuffers, type Contender } from './contender.ts';
import type { Identities } from './identities.ts';
import { type Lane, SERVER_ADDRESS } from './lane.ts';

export const OPENVPN_PORT = 1194;

/** Debian's OpenVPN as a server for many clients, with the settings that make it fastest. */
export async function startOpenVpnServer(
  lane: Lane,
  transport: 'udp' | 'tcp',
  identities: Identities,
): Promise<OpenVpnServer> {
  const files = {
    'ca.crt': identities.authority.certificatePem,
    'server.crt': identities.server.certificatePem,
    'server.key': identities.server.keyPem,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(lane.folder, name), text, { mode: 0o600 });
  lane.translate();
  const options = [
    `--dev tun --topology subnet --server 10.200.0.0 255.255.252.0 --txqueuelen 1000`,
    `--proto ${transport === 'udp' ? 'udp --fast-io' : 'tcp-server --tcp-nodelay'} --port ${OPENVPN_PORT}`,
    `--data-ciphers AES-256-GCM --allow-compression no --sndbuf ${DEFAULT_BUFFER_BYTES} --rcvbuf ${DEFAULT_BUFFER_BYTES}`,
    `--keepalive 10 60 --dh none --ca ca.crt --cert server.crt --key server.key --disable-dco --duplicate-cn --verb 3`,
  ].flatMap((line) => line.split(' '));
  options.push('--push', 'route 192.168.0.0 255.255.255.0');
  const child = lane.gateway.spawn('openvpn', ['--cd', lane.folder, ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
  if (child.stdout === null || child.stderr === null || child.pid === undefined)
    throw new LabError('openvpn has no output');
  const log = new LogLines();
  log.add(child.stdout);
  child.stderr.resume();
  await log.waitFor(/Initialization Sequence Completed/);
  const exited = new Promise((resolve) => child.on('exit', resolve));
  return {
    name: `OpenVPN, ${transport}`,
    lane,
    pids: [child.pid],
    description: [`openvpn ${options.join(' ')}`, socketBuffers(lane, transport, OPENVPN_PORT)],
    profile: profileFor(transport, identities),
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

export interface OpenVpnServer extends Contender {
  /** The .ovpn file of its client. */
  readonly profile: string;
}

/** The machine's own client in one of the lane's client namespaces. */
export async function connectStockClient(lane: Lane, index: 0 | 1, profile: string): Promise<StockClient> {
  const client = new StockClient({
    namespace: lane.clients[index],
    folder: lane.folder,
    name: `client-${index + 1}`,
    profile,
    options: ['--disable-dco', '--nobind'],
  });
  return client.connected();
}

export function profileFor(transport: 'udp' | 'tcp', { authority, client }: Identities): string {
  return `client
dev tun
proto ${transport}
remote ${SERVER_ADDRESS} ${OPENVPN_PORT}
remote-cert-tls server
data-ciphers AES-256-GCM
<ca>
${authority.certificatePem}</ca>
<cert>
${client.certificatePem}</cert>
<key>
${client.keyPem}</key>
`;
}
