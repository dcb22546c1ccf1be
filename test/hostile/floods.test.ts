import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { attackGateway, foreignAddresses, giveForeignAddresses } from '../support/attacker.ts';
import type { Attack, AttackFindings } from '../support/attack-plan.ts';
import { gatewayProcesses, residentBytes } from '../support/gateway-processes.ts';
import { endpoint, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { PingWatch } from '../support/ping-watch.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const HONEST = 0;
const ATTACKER = 1;
const LATE = 2;
/** What a heap may differ by between two moments without anything being kept. */
const MEMORY_SLACK_BYTES = 60_000_000;

interface Siege {
  readonly world: World;
  readonly findings: AttackFindings;
}

/**
 * An established client pings while the gateway is attacked; in the midst of it somebody else logs in. Afterwards the
 * gateway is as large as before, but for slack.
 */
async function besiege(
  t: TestContext,
  attack: (world: World) => Attack,
  options: { readonly transport?: 'udp' | 'tcp'; readonly seconds?: number } = {},
): Promise<Siege> {
  const { transport = 'udp', seconds = 4 } = options;
  const manifests = { 'all.yaml': yamlOf(endpoint({ transport }), targetNetwork(), rule('192.168.0.0/24')) };
  const world = await World.create(t, { clients: 3, manifests });
  giveForeignAddresses(world.lab, ATTACKER);
  const plan = attack(world);
  await world.connect({ index: HONEST });
  assert.ok(world.lab.client(HONEST).ping(TARGETS.vpc));
  const { child } = await gatewayProcesses(world.gateway);
  const before = residentBytes(child);

  const pings = new PingWatch(world.lab.client(HONEST), TARGETS.vpc);
  const attacking = attackGateway(world.lab.client(ATTACKER), { ...plan, seconds });
  const late = await world.connect({ index: LATE });
  const findings = await attacking;
  const report = await pings.report();
  assert.ok(world.lab.client(LATE).ping(TARGETS.vpc), 'who logged in meanwhile has a tunnel');
  await late.stop();

  const after = residentBytes(child);
  t.diagnostic(`attacker ${JSON.stringify(findings)}; pings ${JSON.stringify(report)}; grew ${after - before} bytes`);
  assert.equal(report.received, report.sent, 'the established client lost pings');
  assert.ok(after - before < MEMORY_SLACK_BYTES, `the gateway grew by ${after - before} bytes`);
  return { world, findings };
}

test('openings from many networks are answered once each, 12 bytes longer at the most', { skip }, async (t) => {
  const { findings } = await besiege(t, () => ({ kind: 'resets', sources: foreignAddresses(250), perSecond: 15_000 }));
  assert.ok(findings.sent > 10_000, `${findings.sent} were sent`);
  assert.ok(findings.received > 0);
  assert.equal(findings.answersToOneMax, 1);
  assert.ok(findings.growthBytesMax <= 12);
  // A second of the observer may hold the allowance of two seconds of the gateway.
  assert.ok(findings.answersPerNetworkMax <= 20, `${findings.answersPerNetworkMax} answers to one network`);
  assert.ok(findings.answersPerSecondMax <= 10_000);
});

test('[P24] openings from one network are answered ten times a second, and nobody else waits', { skip }, async (t) => {
  const { findings } = await besiege(t, () => ({ kind: 'resets', sources: ['100.64.1.1'], perSecond: 20_000 }));
  assert.ok(findings.answersPerNetworkMax <= 20, `${findings.answersPerNetworkMax} answers in a second`);
});

test('handshakes that go no further fill their share and give way to others', { skip }, async (t) => {
  await besiege(t, () => ({ kind: 'halfOpen', sources: foreignAddresses(200), perSource: 5 }));
});

test('[P102] garbage is not answered', { skip }, async (t) => {
  const { findings } = await besiege(t, () => ({ kind: 'garbage', perSecond: 10_000 }));
  assert.ok(findings.sent > 5_000);
  assert.equal(findings.received, 0);
});

for (const transport of ['udp', 'tcp'] as const) {
  const profileOf = (world: World): { readonly profile: string; readonly transport: 'udp' | 'tcp' } => ({
    profile: world.gateway.clientConfig({ client: 'mallory' }),
    transport,
  });

  test(`replayed packets over ${transport} have no effect on others`, { skip }, async (t) => {
    const { findings } = await besiege(t, (world) => ({ kind: 'replay', perSecond: 5_000, ...profileOf(world) }), {
      transport,
    });
    assert.ok(findings.connected);
  });

  test(`garbage inside TLS over ${transport} costs its sender the session at the most`, { skip }, async (t) => {
    const { findings } = await besiege(t, (world) => ({ kind: 'garbageInsideTls', bytes: 1e6, ...profileOf(world) }), {
      transport,
    });
    assert.ok(findings.connected);
  });

  test(`a client that falls deaf over ${transport} is the only one to notice`, { skip }, async (t) => {
    await besiege(t, (world) => ({ kind: 'deaf', source: TARGETS.vpc, ...profileOf(world) }), { transport });
  });

  test(`renewals without end over ${transport} are begun once in ten seconds`, { skip }, async (t) => {
    const { findings } = await besiege(t, (world) => ({ kind: 'renewals', perSecond: 500, ...profileOf(world) }), {
      transport,
    });
    assert.ok((findings.counts['data keys'] ?? 0) <= 2, 'the login and one renewal');
  });

  test(`push requests in a loop over ${transport} are answered once`, { skip }, async (t) => {
    const { findings } = await besiege(t, (world) => ({ kind: 'pushRequests', perSecond: 500, ...profileOf(world) }), {
      transport,
    });
    assert.ok((findings.counts['PUSH_REPLY'] ?? 0) <= 2, `${findings.counts['PUSH_REPLY']} replies`);
    assert.ok(findings.sent > 500);
  });
}

test('100,000 flows of one client are remembered by nobody, and refused ten times a second', { skip }, async (t) => {
  const { findings } = await besiege(
    t,
    (world) => ({
      kind: 'flows',
      count: 100_000,
      allowed: TARGETS.vpc,
      refused: '172.16.0.0',
      transport: 'udp',
      profile: world.gateway.clientConfig({ client: 'mallory' }),
    }),
    { seconds: 8 },
  );
  assert.ok(findings.sent > 50_000, `${findings.sent} packets`);
  assert.ok((findings.counts['refusals'] ?? 0) <= 110, `${findings.counts['refusals']} refusals`);
});

for (const manner of ['silent', 'bytewise', 'jumbo', 'zero', 'random'] as const) {
  test(`200 TCP connections that are ${manner} stand in nobody’s way`, { skip }, async (t) => {
    const { findings } = await besiege(t, () => ({ kind: 'tcp', connections: 200, manner }), { transport: 'tcp' });
    const { opened = 0, cut = 0 } = findings.counts;
    assert.ok(opened > 0);
    // One address holds 32 unfinished connections.
    assert.ok(cut >= opened - 32, `${cut} of ${opened} were cut`);
    if (manner !== 'silent' && manner !== 'bytewise') assert.equal(cut, opened, 'a broken frame ends its connection');
  });
}
