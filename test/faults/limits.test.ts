import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { LoadGenerator } from '../bench/scale-generator.ts';
import { ScaleIdentities } from '../bench/scale-identities.ts';
import { attackGateway, foreignAddresses, giveForeignAddresses } from '../support/attacker.ts';
import { dataPlaneOf, gatewayProcesses, isRunning } from '../support/gateway-processes.ts';
import { endpoint, rule, secret, targetNetwork, yamlOf } from '../support/manifests.ts';
import { GATEWAY_ADDRESS, TARGETS } from '../support/netns.ts';
import { MemoryGroup } from '../support/memory-group.ts';
import { PingWatch } from '../support/ping-watch.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { LAB_PREFIX } from '../support/sweep.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const ATTACKERS = 150;
/** Descriptors that are left for them. */
const SERVED = 8;
/** Fewer than are open: none can be opened. */
const NONE = 3;
const MIB = 1024 * 1024;
/** Takes about 60 MB. */
const CROWD = 500;
const IMPATIENCE = ['--connect-retry', '1', '1', '--connect-timeout', '2'];

test(
  'a data plane without a descriptor left refuses newcomers, keeps its clients and says why',
  { skip },
  async (t) => {
    const world = await World.create(t, {
      clients: 3,
      manifests: { 'all.yaml': yamlOf(endpoint({ transport: 'tcp' }), targetNetwork(), rule('192.168.0.0/24')) },
    });
    giveForeignAddresses(world.lab, 1);
    await world.connect();
    const { child } = await gatewayProcesses(world.gateway);
    limit(child, 'nofile', numberWithFreeBelow(child, SERVED));
    const pings = new PingWatch(world.lab.client(), TARGETS.vpc);
    const attack = attackGateway(world.lab.client(1), {
      kind: 'tcp',
      connections: ATTACKERS,
      sources: foreignAddresses(50),
      manner: 'silent',
      seconds: 4,
    });
    await world.gateway.log.waitFor(/"reason":"no-descriptor-left".*"msg":"Refused session start"/);
    const late = world.client({ index: 2, options: IMPATIENCE });
    await late.log.waitFor(/Connection reset|connection-reset/);
    const { counts } = await attack;
    const report = await pings.report();
    t.diagnostic(`${JSON.stringify(counts)}; pings ${JSON.stringify(report)}`);
    assert.ok((counts['cut'] ?? 0) >= ATTACKERS - SERVED, 'those who can’t be served are told at once');
    assert.equal(report.received, report.sent);
    limit(child, 'nofile', 4096);
    await late.connected();
    assert.ok(world.lab.client(2).ping(TARGETS.vpc));
  },
);

test('a parent without a descriptor left: the tunnel goes on, and what failed is made up for', { skip }, async (t) => {
  const world = await World.create(t, { clients: 2 });
  const profile = world.gateway.clientConfig({ client: 'late' });
  const client = await world.connect({ options: IMPATIENCE });
  const { parent, child } = await gatewayProcesses(world.gateway);
  const pings = new PingWatch(world.lab.client(), TARGETS.vpc);
  await t.test('an edit is refused with the reason, and holds once it can be read', async () => {
    const from = world.gateway.log.mark();
    limit(parent, 'nofile', NONE);
    world.gateway.write('more.yaml', yamlOf(rule('172.16.0.0/24')));
    await world.gateway.log.waitFor(/EMFILE/, { from });
    await world.client({ index: 1, profile }).connected();
    assert.throws(() => world.gateway.status());
    limit(parent, 'nofile', 4096);
    await world.gateway.log.waitFor(/"msg":"Applied"/, { from });
    assert.equal(world.gateway.status().refused, null);
    const report = await pings.report();
    assert.equal(report.received, report.sent);
  });

  await t.test('a data plane that died meanwhile is started as soon as it can be', async () => {
    const [from, clientFrom] = [world.gateway.log.mark(), client.log.mark()];
    limit(parent, 'nofile', NONE);
    process.kill(child, 'SIGKILL');
    await world.gateway.log.waitFor(/EMFILE.*will be restarted/, { from });
    assert.equal(dataPlaneOf(parent), undefined);
    limit(parent, 'nofile', 4096);
    await world.gateway.log.waitFor(/The data plane is back/, { from });
    client.signal('SIGUSR1');
    await client.connected({ from: clientFrom });
    await waitFor('the target', () => world.lab.client().ping(TARGETS.vpc));
  });
});

/** What bounds the memory of a gateway under test, and what is kept of it for those who are there. */
interface Bound {
  readonly kind: 'data size' | 'container';
  readonly keptBackBytes: number;
  readonly start: (world: World) => Promise<void>;
  readonly usedBytes: (world: World) => Promise<number>;
  readonly limit: (world: World, bytes: number) => Promise<void>;
  /** Called once the gateway is gone. */
  readonly release: () => Promise<void>;
}

const dataSize: Bound = {
  kind: 'data size',
  keptBackBytes: 64 * MIB,
  start: (world) => world.gateway.start(),
  usedBytes: async ({ gateway }) => dataBytes((await gatewayProcesses(gateway)).child),
  limit: async ({ gateway }, bytes) => limit((await gatewayProcesses(gateway)).child, 'data', bytes),
  release: () => Promise.resolve(),
};

test('a data plane at a limit of its memory refuses newcomers, keeps its clients and says why', { skip }, (t) =>
  refusesForWantOf(t, dataSize),
);

test('so does one in a container at a limit of its memory', { skip }, async (t) => {
  const group = MemoryGroup.make(`${LAB_PREFIX}${process.pid}-memory`);
  if (group === undefined) {
    t.skip('needs a control group for memory below its own');
    return;
  }
  await refusesForWantOf(t, {
    kind: 'container',
    keptBackBytes: 24 * MIB,
    start: ({ gateway }) => group.during(() => gateway.start()),
    usedBytes: async () => group.usedBytes(),
    limit: async (_world, bytes) => group.limit(bytes),
    release: () => group[Symbol.asyncDispose](),
  });
});

async function refusesForWantOf(t: TestContext, bound: Bound): Promise<void> {
  const identities = await ScaleIdentities.mint();
  const { server, authority } = identities;
  const world = await World.create(t, {
    clients: 2,
    started: false,
    timers: { renegotiateMs: 8_000 },
    manifests: {
      'all.yaml': yamlOf(
        endpoint(),
        targetNetwork(),
        rule('192.168.0.0/24'),
        secret('server', {
          'tls.crt': server.certificatePem,
          'tls.key': server.keyPem,
          'ca.crt': authority.certificatePem,
        }),
        secret('clients', { 'ca.crt': authority.certificatePem }),
      ),
    },
  });
  t.after(bound.release);
  await bound.start(world);
  giveForeignAddresses(world.lab, 1);
  const { certificatePem, keyPem } = identities.client(CROWD);
  const profile = world.gateway
    .clientConfig()
    .replace(/<cert>[^]*<\/cert>/, `<cert>\n${certificatePem}</cert>`)
    .replace(/<key>[^]*<\/key>/, `<key>\n${keyPem}</key>`);
  const client = await world.connect({ certificate: null, profile });
  const { child } = await gatewayProcesses(world.gateway);
  const crowd = await LoadGenerator.start(world.lab.client(1), {
    identities: identities.export(),
    certificates: 10,
    clients: CROWD,
    server: { address: GATEWAY_ADDRESS, port: 1194 },
    firstNetwork: '100.64.0.0',
    networks: CROWD / 5,
    firstAddress: 0,
    firstPort: 20_000,
  });
  t.after(() => crowd.kill());

  // What is kept back, and room for a part of the crowd.
  await bound.limit(world, (await bound.usedBytes(world)) + bound.keptBackBytes + 20 * MIB);
  const exchanges = client.keyExchanges();
  const pings = new PingWatch(world.lab.client(), TARGETS.vpc);
  await crowd.login(0, CROWD, 150);
  await world.gateway.log.waitFor(new RegExp(`"name":"${bound.kind}".*"msg":"Memory is short: newcomers wait`));
  await world.gateway.log.waitFor(/"reason":"memory-short".*"msg":"Refused session start"/);
  const { connected } = await crowd.state();
  t.diagnostic(`${connected} of ${CROWD} found room`);
  assert.ok(connected > 0 && connected < CROWD, `${connected} of ${CROWD} found room`);
  await waitFor('a renewal', () => client.keyExchanges() > exchanges, 30_000);

  await bound.limit(world, (await bound.usedBytes(world)) + 1024 * MIB);
  await world.gateway.log.waitFor(/Memory suffices again/);
  await waitFor('the rest', async () => (await crowd.state()).connected === CROWD, 90_000);
  const report = await pings.report();
  assert.equal(report.received, report.sent);
  assert.equal(isRunning(child), true);
}

/** The number below which a process has so many descriptors free. It may have inherited some far above. */
function numberWithFreeBelow(pid: number, count: number): number {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let number = 0;
  for (let free = 0; free < count; number += 1) if (!open.has(number)) free += 1;
  return number;
}

/** What counts towards RLIMIT_DATA. */
function dataBytes(pid: number): number {
  return 1024 * Number(/^VmData:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** Sets a limit of a running process, of which it learns nothing. */
function limit(pid: number, resource: 'nofile' | 'data', value: number): void {
  const user = /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
  // In a container, root may not set those of another user.
  const as = ['--reuid', user, '--regid', user, '--clear-groups'];
  execFileSync('setpriv', [...as, 'prlimit', '--pid', String(pid), `--${resource}=${value}:`]);
}
