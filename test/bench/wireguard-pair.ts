import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Namespace } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import type { Contender } from './contender.ts';
import { SERVER_ADDRESS, TARGET_NETWORK, type Lane } from './lane.ts';
import type { Report } from './report.ts';

/** wireguard-go at both ends, configured by `wg`; undefined, and said so, where one of them is not to be had. */
export async function startWireGuardPair(lane: Lane, report: Report): Promise<Contender | undefined> {
  const program = wireGuardGo();
  if (program === undefined || spawnSync('wg', ['--version']).status !== 0) {
    report.say(`Skipped: wireguard-go, which needs Go (to build ${MODULE}) and the Debian package wireguard-tools`);
    return undefined;
  }
  lane.translate();
  const [client] = lane.clients;
  const name = (end: string): string => `wg${process.pid}${end}`;
  const keys = { server: newKey(lane, 'server'), client: newKey(lane, 'client') };
  const server = await startEnd(lane.gateway, program, name('s'));
  const other = await startEnd(client, program, name('c'));
  lane.gateway.must('wg', 'set', name('s'), 'listen-port', '51820', 'private-key', keys.server.path);
  lane.gateway.must('wg', 'set', name('s'), 'peer', keys.client.public, 'allowed-ips', '10.200.0.2/32');
  lane.gateway.ip(`addr add 10.200.0.1/24 dev ${name('s')}`, `link set ${name('s')} up`);
  client.must('wg', 'set', name('c'), 'private-key', keys.client.path);
  const endpoint = `${SERVER_ADDRESS}:51820`;
  client.must('wg', 'set', name('c'), 'peer', keys.server.public, 'endpoint', endpoint, 'allowed-ips', '0.0.0.0/0');
  client.ip(`addr add 10.200.0.2/24 dev ${name('c')}`, `link set ${name('c')} up`);
  client.ip(`route add ${TARGET_NETWORK} dev ${name('c')}`);
  return {
    name: 'wireguard-go pair',
    lane,
    pids: [server.pid],
    description: [`${MODULE}, WireGuard's own buffers, MTU 1420`],
    stop: () => {
      server.stop();
      other.stop();
      return Promise.resolve();
    },
  };
}

function newKey(lane: Lane, name: string): { readonly path: string; readonly public: string } {
  const secret = execFileSync('wg', ['genkey'], { encoding: 'utf8' });
  const path = join(lane.folder, `${name}.wgkey`);
  writeFileSync(path, secret, { mode: 0o600 });
  return { path, public: execFileSync('wg', ['pubkey'], { input: secret, encoding: 'utf8' }).trim() };
}

async function startEnd(
  namespace: Namespace,
  program: string,
  name: string,
): Promise<{ readonly pid: number; stop(): void }> {
  const child = namespace.spawn(program, ['-f', name], {
    stdio: 'ignore',
    env: { ...process.env, WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD: '1', LOG_LEVEL: 'silent' },
  });
  await waitFor('wireguard-go', () => existsSync(`/var/run/wireguard/${name}.sock`));
  return { pid: child.pid ?? -1, stop: () => void child.kill('SIGTERM') };
}

/** @returns the path of wireguard-go, built once and kept outside the tree. */
function wireGuardGo(): string | undefined {
  const folder = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'clientvpn');
  const path = join(folder, 'wireguard');
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true });
    spawnSync('go', ['install', MODULE], { env: { ...process.env, GOBIN: folder }, stdio: 'inherit' });
  }
  return existsSync(path) ? path : undefined;
}

const MODULE = `golang.zx2c4.com/wireguard@v0.0.0-20260522210424-ecfc5a8d5446`;
