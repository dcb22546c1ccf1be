import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { attackGateway, foreignAddresses, giveForeignAddresses } from '../support/attacker.ts';
import type { Attack, AttackFindings, LoggedInAttack } from '../support/attack-plan.ts';
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
const ATTACK_SECONDS = 3;
/** Longer than a login takes on a busy machine. */
const BABBLE_SECONDS = 10;
/** At most; 100,000 packets take less on an idle machine. */
const FLOWS_SECONDS = 20;
/** What a heap may differ by between two moments without anything being kept. */
const MEMORY_SLACK_BYTES = 60_000_000;

interface Siege {
  readonly attack: Attack;
  readonly seconds?: number;
  readonly judge?: (findings: AttackFindings, late: { readonly cameMeanwhile: boolean }) => void;
}

/** A gateway with an established client, to be attacked more than once. */
class Fortress {
  readonly #world: World;
  readonly #transport: 'udp' | 'tcp';
  readonly #process: number;

  private constructor(world: World, transport: 'udp' | 'tcp', process: number) {
    this.#world = world;
    this.#transport = transport;
    this.#process = process;
  }

  static async build(t: TestContext, transport: 'udp' | 'tcp'): Promise<Fortress> {
    const manifests = { 'all.yaml': yamlOf(endpoint({ transport }), targetNetwork(), rule('192.168.0.0/24')) };
    const world = await World.create(t, { clients: 3, manifests });
    giveForeignAddresses(world.lab, ATTACKER);
    await world.connect({ index: HONEST });
    assert.ok(world.lab.client(HONEST).ping(TARGETS.vpc));
    const { child } = await gatewayProcesses(world.gateway);
    return new Fortress(world, transport, child);
  }

  loggedIn(attack: LoggedInAttack): Attack {
    return { ...attack, transport: this.#transport, profile: this.#world.gateway.clientConfig({ client: 'mallory' }) };
  }

  /**
   * The established client pings while the gateway is attacked; in the midst of it somebody else logs in. Afterwards
   * the gateway is as large as before, but for slack.
   */
  async besiege(t: TestContext, siege: Siege): Promise<void> {
    const { lab } = this.#world;
    const before = residentBytes(this.#process);
    const pings = new PingWatch(lab.client(HONEST), TARGETS.vpc);
    const plan = { ...siege.attack, seconds: siege.seconds ?? ATTACK_SECONDS };
    let isOver = false;
    const attacking = attackGateway(lab.client(ATTACKER), plan).finally(() => (isOver = true));
    const late = await this.#world.connect({ index: LATE });
    const cameMeanwhile = !isOver;
    const findings = await attacking;
    const report = await pings.report();
    const isLateServed = lab.client(LATE).ping(TARGETS.vpc);
    await late.stop();
    const growth = residentBytes(this.#process) - before;
    t.diagnostic(`attacker ${JSON.stringify(findings)}; pings ${JSON.stringify(report)}; grew ${growth} bytes`);
    assert.equal(report.received, report.sent, 'the established client lost pings');
    assert.ok(isLateServed, 'who logged in meanwhile has a tunnel');
    assert.ok(growth < MEMORY_SLACK_BYTES, `the gateway grew by ${growth} bytes`);
    siege.judge?.(findings, { cameMeanwhile });
  }
}

test('a gateway over UDP that is attacked serves its clients', { skip }, async (t) => {
  const fortress = await Fortress.build(t, 'udp');

  await t.test('openings from many networks are answered once each, 12 bytes longer at the most', (t2) =>
    fortress.besiege(t2, {
      attack: { kind: 'resets', sources: foreignAddresses(250), perSecond: 15_000 },
      judge(findings) {
        assert.ok(findings.sent > 5_000, `${findings.sent} were sent`);
        assert.ok(findings.received > 0);
        assert.equal(findings.answersToOneMax, 1);
        assert.ok(findings.growthBytesMax <= 12);
        // A second of the observer may hold the allowance of two seconds of the gateway.
        assert.ok(findings.answersPerNetworkMax <= 20, `${findings.answersPerNetworkMax} answers to one network`);
        assert.ok(findings.answersPerSecondMax <= 10_000);
      },
    }),
  );

  await t.test('openings from one network are answered ten times a second, and nobody else waits', (t2) =>
    fortress.besiege(t2, {
      attack: { kind: 'resets', sources: ['100.64.1.1'], perSecond: 20_000 },
      judge: ({ answersPerNetworkMax }) => assert.ok(answersPerNetworkMax <= 20, `${answersPerNetworkMax} in a second`),
    }),
  );

  await t.test('garbage is not answered', (t2) =>
    fortress.besiege(t2, {
      attack: { kind: 'garbage', perSecond: 10_000 },
      judge({ sent, received }) {
        assert.ok(sent > 2_000);
        assert.equal(received, 0);
      },
    }),
  );

  await abuseLogin(t, fortress);

  await t.test('100,000 flows of one client are remembered by nobody, and refused ten times a second', (t2) =>
    fortress.besiege(t2, {
      attack: fortress.loggedIn({ kind: 'flows', count: 100_000, allowed: TARGETS.vpc, refused: '172.16.0.0' }),
      seconds: FLOWS_SECONDS,
      judge({ sent, counts: { refusals = 0 } }) {
        assert.ok(sent > 30_000, `${sent} packets`);
        assert.ok(refusals <= 10 * (FLOWS_SECONDS + 2), `${refusals} refusals`);
      },
    }),
  );

  for (const round of ['', ', again and again']) {
    await t.test(`handshakes that go no further fill their share and give way to others${round}`, (t2) =>
      fortress.besiege(t2, {
        attack: { kind: 'halfOpen', sources: foreignAddresses(200), perSource: 5 },
        judge: ({ counts: { proven = 0 } }) => assert.ok(proven > 500, `${proven} proved their address`),
      }),
    );
  }
});

test('a gateway over TCP that is attacked serves its clients', { skip }, async (t) => {
  const fortress = await Fortress.build(t, 'tcp');

  for (const manner of ['silent', 'bytewise', 'jumbo', 'zero', 'random'] as const) {
    await t.test(`200 connections that are ${manner} stand in nobody’s way`, (t2) =>
      fortress.besiege(t2, {
        attack: { kind: 'tcp', connections: 200, manner },
        judge({ counts: { opened = 0, cut = 0 } }) {
          assert.ok(opened > 0);
          // One address holds 32 unfinished connections; a broken frame ends its connection.
          const mayStay = manner === 'silent' || manner === 'bytewise' ? 32 : 0;
          assert.ok(cut >= opened - mayStay, `${cut} of ${opened} were cut`);
        },
      }),
    );
  }

  await t.test('connections that never stop talking do not talk over others', (t2) =>
    fortress.besiege(t2, {
      attack: { kind: 'babble', source: '100.64.1.1', connections: 8 },
      seconds: BABBLE_SECONDS,
      judge({ sent, counts: { opened = 0 } }, { cameMeanwhile }) {
        assert.ok(opened > 0 && sent > 10_000, `${sent} frames were sent`);
        assert.ok(cameMeanwhile, 'the login had to wait for silence');
      },
    }),
  );
  for (const manner of ['silent', 'bytewise'] as const) {
    await t.test(`connections from many networks that are ${manner} fill their share and give way to others`, (t2) =>
      fortress.besiege(t2, {
        attack: { kind: 'tcp', connections: 600, sources: foreignAddresses(200), manner },
        judge({ counts: { opened = 0, cut = 0 } }) {
          // A quarter of the endpoint's connections may be half open.
          assert.ok(opened > 500 && cut >= opened - 256, `${cut} of ${opened} were cut`);
        },
      }),
    );
  }

  await abuseLogin(t, fortress);
});

async function abuseLogin(t: TestContext, fortress: Fortress): Promise<void> {
  await t.test('replayed packets have no effect on others', (t2) =>
    fortress.besiege(t2, {
      attack: fortress.loggedIn({ kind: 'replay', perSecond: 5_000 }),
      judge: ({ connected }) => assert.ok(connected),
    }),
  );

  await t.test('garbage inside TLS costs its sender the session at the most', (t2) =>
    fortress.besiege(t2, {
      attack: fortress.loggedIn({ kind: 'garbageInsideTls', bytes: 300_000 }),
      judge: ({ connected }) => assert.ok(connected),
    }),
  );

  await t.test('a client that falls deaf is the only one to notice', (t2) =>
    fortress.besiege(t2, { attack: fortress.loggedIn({ kind: 'deaf', source: TARGETS.vpc }) }),
  );

  await t.test('renewals without end are begun once in ten seconds', (t2) =>
    fortress.besiege(t2, {
      attack: fortress.loggedIn({ kind: 'renewals', perSecond: 500 }),
      // The login and one renewal.
      judge: ({ counts }) => assert.ok((counts['data keys'] ?? 0) <= 2, `${counts['data keys']} keys`),
    }),
  );

  await t.test('push requests in a loop are answered once', (t2) =>
    fortress.besiege(t2, {
      attack: fortress.loggedIn({ kind: 'pushRequests', perSecond: 500 }),
      judge({ sent, counts }) {
        assert.ok(sent > 200);
        assert.ok((counts['PUSH_REPLY'] ?? 0) <= 2, `${counts['PUSH_REPLY']} replies`);
      },
    }),
  );
}
