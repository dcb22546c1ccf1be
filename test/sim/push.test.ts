import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SnapshotRoute } from '../../api/endpoint-snapshot.ts';
import { TerminalError } from '../../net/errors.ts';
import { CLIENT_2_6 } from '../support/client-io.ts';
import { dataPlaneConfig } from '../support/data-plane-configs.ts';
import { grantByCertificate, SimulatedWorld } from '../support/simulated-world.ts';

function routes(count: number): readonly SnapshotRoute[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `route-${index}`,
    cidr: `10.60.${index}.0/24`,
    via: 'TargetNetwork' as const,
  }));
}

function configWithRoutes(list: readonly SnapshotRoute[], push = {}) {
  return dataPlaneConfig({
    snapshot: {
      routing: { 'net-a': list },
      push: { splitTunnel: true, dnsServers: [], blockLocal: false, banner: null, ...push },
    },
  });
}

test('[P76] pushes unasked to a client that expects it', () => {
  const world = new SimulatedWorld();
  const client = world.client({ config: { pushRequestMs: 1_000_000 } });
  client.start();
  world.advance(2_000);
  assert.equal(client.messages.length, 1);
});

test('[P76] waits for the request of a client that does not', () => {
  const world = new SimulatedWorld();
  const client = world.client({ config: { protocolBits: 2, pushRequestMs: 20_000 } });
  client.start();
  world.advance(15_000);
  assert.deepEqual(client.messages, []);
  world.advance(10_000);
  assert.equal(client.messages.length, 1);
});

test('[P77] only acknowledges a second PUSH_REQUEST within 30 s', () => {
  const world = new SimulatedWorld();
  const client = world.connect();
  const before = world.transmitted.length;
  client.handle({ kind: 'controlText', text: 'PUSH_REQUEST' });
  world.advance(1_000);
  assert.equal(client.messages.length, 1);
  assert.equal(world.transmitted.length, before + 1);
  world.advance(30_000);
  client.handle({ kind: 'controlText', text: 'PUSH_REQUEST' });
  world.advance(1_000);
  assert.equal(client.messages.length, 2);
});

test('[P78] pushes 100 routes in several messages, what belongs together in the last', () => {
  const world = new SimulatedWorld({ config: configWithRoutes(routes(100)) });
  const client = world.connect();
  assert.ok(client.messages.length >= 4);
  assert.ok(client.messages.every((message) => message.length <= 1023 && message.startsWith('PUSH_REPLY,')));
  const ends = client.messages.map((message) => message.slice(message.lastIndexOf(',') + 1));
  assert.deepEqual(ends, [...ends.slice(1).map(() => 'push-continuation 2'), 'push-continuation 1']);
  assert.match(client.messages.at(-1) ?? '', /,ifconfig .*,peer-id 0,cipher AES-256-GCM,/);
  assert.equal(client.settings?.options.filter((option) => option.startsWith('route ')).length, 100);
});

test('[P79] refuses a configuration that could not be pushed as it is, and keeps the last one', () => {
  const bad = configWithRoutes([], { dnsServers: ['10.0.0.2,10.0.0.3'] });
  assert.throws(() => new SimulatedWorld({ config: bad }), TerminalError);
  const world = new SimulatedWorld();
  assert.throws(() => world.feed({ kind: 'configChanged', config: bad }), TerminalError);
  world.connect();
  assert.equal(world.commands.filter(({ verb }) => verb === 'setPolicy').length, 1);
});

test('[P80] pushes tun-mtu to a client that names its limit, and never more', () => {
  for (const [mtu, expected] of [
    ['1600', 'tun-mtu 1500'],
    ['1400', 'tun-mtu 1400'],
  ] as const) {
    const world = new SimulatedWorld();
    const client = world.connect({ config: { peerInfo: { IV_MTU: mtu, IV_CIPHERS: 'AES-256-GCM' } } });
    assert.ok(client.settings?.options.includes(expected));
    assert.equal(world.tunnel.peers.get(0)?.record.tunMtu, Number(expected.slice(8)));
  }
  const client = new SimulatedWorld().connect({ config: { peerInfo: { IV_CIPHERS: 'AES-256-GCM' } } });
  assert.ok(client.settings?.options.every((option) => !option.startsWith('tun-mtu')));
});

test('[C56] [P81] tells a changed route to a client that takes updates, and restarts the others within the drain time', () => {
  const world = new SimulatedWorld({ config: configWithRoutes(routes(1)) });
  const modern = world.connect({ config: { protocolBits: 8094 } });
  const older = world.connect();
  world.feed({ kind: 'configChanged', config: configWithRoutes(routes(2)) });
  world.advance(100);
  assert.equal(modern.messages.at(-1), 'PUSH_UPDATE,route 10.60.0.0 255.255.255.0,route 10.60.1.0 255.255.255.0');
  world.advance(11_000);
  assert.equal(older.closed, 'RESTART,[P]:configuration changed');
  assert.equal(modern.closed, undefined);
});

test('a client that has yet to ask is told what is new when it does, and not sent away', () => {
  const world = new SimulatedWorld({ config: configWithRoutes(routes(1)) });
  const client = world.client({ config: { protocolBits: 2, pushRequestMs: 20_000 } });
  client.start();
  world.advance(2_000);
  assert.equal(world.tunnel.peers.size, 1);
  world.feed({ kind: 'configChanged', config: configWithRoutes(routes(2)) });
  world.advance(28_000);
  assert.equal(client.closed, undefined);
  assert.match(client.messages.join(), /route 10\.60\.0\.0 .*route 10\.60\.1\.0 /);
});

test('leaves clients in peace when nothing they were told has changed', () => {
  const world = new SimulatedWorld({ config: configWithRoutes(routes(1)) });
  const client = world.connect();
  const config = configWithRoutes(routes(1), { banner: 'New text' });
  world.feed({ kind: 'configChanged', config: { ...config, snapshot: { ...config.snapshot, rules: [] } } });
  world.advance(60_000);
  assert.equal(client.messages.length, 1);
  assert.equal(world.commands.filter(({ verb }) => verb === 'setPolicy').length, 2);
});

test('[C57] a route change in a full tunnel touches no client', () => {
  const world = new SimulatedWorld({ config: configWithRoutes(routes(1), { splitTunnel: false }) });
  const client = world.connect();
  world.feed({ kind: 'configChanged', config: configWithRoutes(routes(5), { splitTunnel: false }) });
  world.advance(60_000);
  assert.equal(client.closed, undefined);
  assert.equal(client.messages.length, 1);
});

test('a switch between full and split tunnel removes what the other pushed', () => {
  const world = new SimulatedWorld({ config: configWithRoutes(routes(1), { splitTunnel: false }) });
  const client = world.connect({ config: { protocolBits: 8094 } });
  world.feed({ kind: 'configChanged', config: configWithRoutes(routes(1)) });
  world.advance(100);
  assert.equal(client.messages.at(-1), 'PUSH_UPDATE,-redirect-gateway,-block-ipv6,route 10.60.0.0 255.255.255.0');
});

test('a full tunnel draws IPv6 in and blocks it there; block-local is the endpoint’s choice', () => {
  for (const [blockLocal, expected] of [
    [false, 'redirect-gateway def1 ipv6'],
    [true, 'redirect-gateway def1 ipv6 block-local'],
  ] as const) {
    const world = new SimulatedWorld({ config: configWithRoutes(routes(1), { splitTunnel: false, blockLocal }) });
    const client = world.connect();
    assert.ok(client.settings?.options.includes(expected));
    assert.ok(client.settings?.options.includes('block-ipv6'));
    assert.ok(client.settings?.options.every((option) => !option.startsWith('route ')));
  }
});

test('names the IPv6 routes to a client that leaves them out of redirect-gateway, and takes them back', () => {
  const halves = ['::/3', '2000::/4', '3000::/4', 'fc00::/7'].map((prefix) => `route-ipv6 ${prefix}`);
  for (const [version, expected] of [
    ['2.4.12', []],
    ['2.6.14', []],
    ['2.7.8', halves],
    ['2.10.0', halves],
    ['3.11', []],
  ] as const) {
    const world = new SimulatedWorld({ config: configWithRoutes(routes(1), { splitTunnel: false }) });
    const client = world.connect({ config: { peerInfo: { ...CLIENT_2_6.peerInfo, IV_VER: version } } });
    const pushed = client.settings?.options.filter((option) => option.startsWith('route-ipv6'));
    assert.deepEqual(pushed, expected, version);
  }
  const world = new SimulatedWorld({ config: configWithRoutes(routes(1), { splitTunnel: false }) });
  const peerInfo = { ...CLIENT_2_6.peerInfo, IV_VER: '2.7.8' };
  const client = world.connect({ config: { protocolBits: 8094, peerInfo } });
  world.feed({ kind: 'configChanged', config: configWithRoutes(routes(1)) });
  world.advance(100);
  assert.match(client.messages.at(-1) ?? '', /^PUSH_UPDATE,-redirect-gateway,-route-ipv6,-block-ipv6,route /);
});

test('pushes name servers in both forms to clients that know the newer', () => {
  const config = configWithRoutes([], { dnsServers: ['10.0.0.2', '10.0.0.3'] });
  const modern = new SimulatedWorld({ config }).connect();
  assert.ok(modern.settings?.options.includes('dhcp-option DNS 10.0.0.2'));
  assert.ok(modern.settings?.options.includes('dns server 0 address 10.0.0.2 10.0.0.3'));
  const old = new SimulatedWorld({ config }).connect({ config: { protocolBits: 2 } });
  assert.ok(old.settings?.options.every((option) => !option.startsWith('dns ')));
});

test('pushes a banner of 1,400 characters that a client can put together again', () => {
  const banner = `Authorised users only, 100 % "logged".\nStraße 🚪 ${'x, '.repeat(450)}`.slice(0, 1400);
  const world = new SimulatedWorld({ config: configWithRoutes([], { banner }) });
  const client = world.connect();
  const echoes = client.settings?.options.filter((option) => option.startsWith('echo ')) ?? [];
  assert.equal(echoes.at(-1), 'echo msg-window Welcome');
  const text = echoes
    .slice(0, -1)
    .map((option) => decodeURIComponent(option.slice('echo msg-n '.length)))
    .join('');
  assert.equal(text, banner.replaceAll('\n', '\r\n'));
});

test('pushes a token with the user name to a client that sent none', () => {
  const world = new SimulatedWorld({
    authenticate: (request) => ({ ...grantByCertificate(request), authToken: 'SESS_ID_AT_x' }) as never,
  });
  const client = world.connect();
  assert.ok(client.settings?.options.includes('auth-token SESS_ID_AT_x'));
  assert.ok(client.settings?.options.includes(`auth-token-user ${btoa('alice')}`));
});

test('pushes the renewal interval only when it is not what clients assume', () => {
  const usual = new SimulatedWorld().connect();
  assert.ok(usual.settings?.options.every((option) => !option.startsWith('reneg-sec')));
  const short = new SimulatedWorld({ timers: { renegotiateMs: 600_000 } }).connect();
  assert.ok(short.settings?.options.includes('reneg-sec 600'));
});

test('tells UDP clients, and only them, to announce their exit', () => {
  const udp = new SimulatedWorld().connect();
  assert.ok(udp.settings?.options.includes('explicit-exit-notify 1'));
  const config = dataPlaneConfig({ snapshot: { transport: 'tcp' } });
  const tcp = new SimulatedWorld({ config }).connect({ config: { transport: 'tcp' } });
  assert.ok(tcp.settings?.options.every((option) => !option.startsWith('explicit-exit-notify')));
});
