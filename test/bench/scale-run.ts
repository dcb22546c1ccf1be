import { setTimeout as sleep } from 'node:timers/promises';
import { TARGET_ADDRESS } from './lane.ts';
import type { Report } from './report.ts';
import type { LoadGenerator } from './scale-generator.ts';
import { monotonicMs, percentileOf, type TrafficResult } from './scale-protocol.ts';
import { GATED_ADDRESS, gatedRule, REGULARS, ScaleWorld } from './scale-world.ts';

export interface ScaleSettings {
  readonly clients: number;
  readonly holdSeconds: number;
}

/** Everything that is measured with a crowd, from few clients to all of them, then cut off and back twice. */
export async function measureScale(report: Report, settings: ScaleSettings): Promise<void> {
  await using world = await ScaleWorld.create(settings.clients);
  const run = new ScaleRun(report, world, settings);
  await run.measureSteps();
  await run.measureHold();
  await run.measureCrowdCutOff();
  await run.measureGatewayKilled();
}

class ScaleRun {
  readonly #report: Report;
  readonly #world: ScaleWorld;
  readonly #settings: ScaleSettings;
  #emptyBytes = 0;
  #emptyCpu = { cpuSeconds: 0, share: 0 };

  constructor(report: Report, world: ScaleWorld, settings: ScaleSettings) {
    this.#report = report;
    this.#world = world;
    this.#settings = settings;
  }

  /** Memory and CPU for each client at a few sizes; the storm of 500 logins and rule changes on the way. */
  async measureSteps(): Promise<void> {
    const { clients } = this.#settings;
    const world = this.#world;
    await sleep(SETTLE_MS);
    this.#emptyBytes = world.residentBytes();
    this.#emptyCpu = await this.#idle(ROUNDS_MS);
    this.#report.keep('empty', { residentBytes: this.#emptyBytes, ...this.#emptyCpu });
    this.#say(`no client: ${megabytes(this.#emptyBytes)} resident, ${percent(this.#emptyCpu.share)} of a core`);
    await world.regulars.login(0, REGULARS / 2, 50);
    await this.#connected(world.regulars, REGULARS / 2);
    const rows = [await this.#measureStep(REGULARS / 2)];
    await world.regulars.login(REGULARS / 2, REGULARS, 50);
    await this.#connected(world.regulars, REGULARS);
    await this.#measurePacedLogins(Math.min(500, clients));
    for (const step of STEPS.filter((size) => size < clients).concat(clients)) {
      await this.#logInUpTo(step);
      rows.push(await this.#measureStep(step + REGULARS));
      if (step === Math.min(2_000, clients)) await this.#measureRuleChanges();
    }
    const head = ['clients', 'resident', 'each', 'old space', 'CPU of a core, idle', 'CPU each round', 'alive'];
    this.#report.table(head, rows);
  }

  async measureHold(): Promise<void> {
    const world = this.#world;
    const { holdSeconds, clients } = this.#settings;
    this.#say(`holding ${clients + REGULARS} clients for ${holdSeconds} s`);
    const benchBefore = await world.crowd.state();
    const before = await this.#idle(holdSeconds * 1000);
    const state = await world.crowd.state();
    const regulars = await world.regulars.state();
    const lost = world.sum('clientvpn_connections_ended_total');
    const restarts = state.restarts + regulars.restarts;
    const crowdShare = (state.cpuSeconds - benchBefore.cpuSeconds) / holdSeconds;
    const hold = {
      crowdShare,
      ...before,
      residentBytes: world.residentBytes(),
      lost,
      restarts,
      alive: state.alive + regulars.alive,
    };
    this.#report.say(
      `  Held for ${holdSeconds} s: ${percent(before.share)} of a core, ${megabytes(hold.residentBytes)}; ` +
        `${hold.alive} of ${clients + REGULARS} alive, ended in all ${lost}, clients that gave up ${restarts} (${benchText(crowdShare)})`,
    );
    const traffic = await world.regulars.traffic({ ...TRAFFIC, seconds: 20 });
    this.#report.say(`  Traffic of ${REGULARS}: ${trafficText(traffic)}`);
    this.#report.keep('hold', { ...hold, traffic });
  }

  /** The crowd loses its sockets and logs in anew, all at once, beside its own dead sessions. */
  async measureCrowdCutOff(): Promise<void> {
    const world = this.#world;
    const { clients } = this.#settings;
    this.#say(`cutting ${clients} clients off; ${REGULARS} keep their traffic`);
    await world.replaceCrowd();
    const begun = monotonicMs();
    const cpu = world.cpuSeconds();
    const traffic = world.regulars.traffic({ ...TRAFFIC, seconds: Math.max(10, Math.min(120, clients / 300)) });
    void world.crowd.login(0, clients, Infinity);
    const peak = await this.#untilBack(begun, clients, 0);
    this.#storm('crowd cut off, all back at once', peak, { cpu: world.cpuSeconds() - cpu, traffic: await traffic });
    this.#say('waiting for the dead sessions to end');
    await sleep(DEAD_SESSIONS_MS);
    this.#say(
      `${megabytes(world.residentBytes())} resident with ${world.sum('clientvpn_active_connections')} connections`,
    );
  }

  /** All clients, regulars too, notice by their own ping-restart. */
  async measureGatewayKilled(): Promise<void> {
    const world = this.#world;
    const { clients } = this.#settings;
    this.#say('killing the data plane');
    const begun = monotonicMs();
    await world.killDataPlane();
    const peak = await this.#untilBack(begun, clients, REGULARS);
    this.#storm('gateway killed (60 s of them: ping-restart)', peak, { cpu: world.cpuSeconds(), traffic: null });
    await sleep(SETTLE_MS);
    this.#say(
      `${megabytes(world.residentBytes())} resident with ${world.sum('clientvpn_active_connections')} connections`,
    );
  }

  async #logInUpTo(step: number): Promise<void> {
    const world = this.#world;
    const { connected } = await world.crowd.state();
    if (connected >= step) return;
    const begun = monotonicMs();
    const cpu = world.cpuSeconds();
    void world.crowd.login(connected, step, Infinity);
    const { connected: reached, seconds } = await this.#connected(world.crowd, step);
    const count = reached - connected;
    const spent = world.cpuSeconds() - cpu;
    const { loginMs } = await world.crowd.state(begun, 'times');
    this.#report.say(
      `  ${count} logged in at once in ${seconds.toFixed(0)} s (${(count / seconds).toFixed(0)}/s), ` +
        `gateway CPU ${((1000 * spent) / count).toFixed(2)} ms each, slowest ${(Math.max(...loginMs.slice(-1)) / 1000).toFixed(1)} s`,
    );
    this.#report.keep(`login-to-${step}`, { count, seconds, cpuSeconds: spent });
  }

  async #measureStep(clients: number): Promise<string[]> {
    const world = this.#world;
    await sleep(SETTLE_MS);
    const residentBytes = world.residentBytes();
    const each = (residentBytes - this.#emptyBytes) / clients;
    const oldSpace = world.sum('nodejs_heap_size_used_bytes');
    const external = world.sum('nodejs_external_memory_bytes');
    const idle = await this.#idle(ROUNDS_MS);
    const [crowd, regulars] = [await world.crowd.state(), await world.regulars.state()];
    const perRound = ((idle.cpuSeconds - this.#emptyCpu.cpuSeconds) / (ROUNDS_MS / KEEPALIVE_MS) / clients) * 1e6;
    const alive = crowd.alive + regulars.alive;
    this.#report.keep(`step-${clients}`, { residentBytes, each, oldSpace, external, ...idle, perRound, alive });
    return [
      String(clients),
      megabytes(residentBytes),
      `${(each / 1024).toFixed(0)} KB`,
      megabytes(oldSpace),
      percent(idle.share),
      `${perRound.toFixed(0)} µs`,
      String(alive),
    ];
  }

  /** What nothing but keepalives costs. */
  async #idle(milliseconds: number): Promise<{ readonly cpuSeconds: number; readonly share: number }> {
    const cpu = this.#world.cpuSeconds();
    const begun = monotonicMs();
    await sleep(milliseconds);
    const cpuSeconds = this.#world.cpuSeconds() - cpu;
    return { cpuSeconds, share: cpuSeconds / ((monotonicMs() - begun) / 1000) };
  }

  /** One client's round trips while others log in. */
  async #measurePacedLogins(count: number): Promise<void> {
    const world = this.#world;
    const seconds = 10;
    const one = { from: 0, to: 1, perSecond: 200, seconds, bytes: 100, destination: TARGET_ADDRESS };
    const idle = await world.regulars.traffic(one);
    const cpu = world.cpuSeconds();
    world.sum('clientvpn_event_loop_lag_seconds');
    const traffic = world.regulars.traffic(one);
    await world.crowd.login(0, count, count / seconds);
    const during = await traffic;
    const lag = Object.fromEntries(world.metric('clientvpn_event_loop_lag_seconds'));
    await this.#connected(world.crowd, count);
    const cpuEach = (world.cpuSeconds() - cpu) / count;
    this.#report.say(`  One client alone:                    ${trafficText(idle)}`);
    this.#report.say(`  One client beside ${count} logins in ${seconds} s: ${trafficText(during)}`);
    this.#report.say(`  gateway CPU ${(1000 * cpuEach).toFixed(2)} ms for each login`);
    this.#report.keep('paced-logins', { count, seconds, idle, during, cpuEach, lag });
  }

  /** From the moment a file is replaced to the first packet that passes because of it. */
  async #measureRuleChanges(): Promise<void> {
    const { gateway, regulars } = this.#world;
    const times: number[] = [];
    for (let change = 0; change < RULE_CHANGES; change++) {
      await gateway.apply('gated.yaml', gatedRule(false)).catch(() => undefined);
      const sinceMs = monotonicMs();
      const probe = regulars.probe({ sinceMs, everyMs: 2, destination: GATED_ADDRESS });
      gateway.write('gated.yaml', gatedRule(true));
      times.push((await probe).passedAtMs - sinceMs);
    }
    times.sort((a, b) => a - b);
    const at = (share: number): string => `${percentileOf(times, share).toFixed(0)} ms`;
    this.#report.say(`  Rule change → passes at the client: p50 ${at(0.5)}, p99 ${at(0.99)}, ${times.length} changes`);
    this.#report.keep('rule-changes', { times });
  }

  async #connected(generator: LoadGenerator, count: number): Promise<{ connected: number; seconds: number }> {
    const begun = monotonicMs();
    for (let said = begun, last = begun, before = -1; ;) {
      const { connected, failures } = await generator.state();
      if (connected !== before) last = monotonicMs();
      before = connected;
      const seconds = (monotonicMs() - begun) / 1000;
      if (connected >= count || monotonicMs() - last > STALLED_MS) return { connected, seconds };
      if (monotonicMs() - said > PROGRESS_MS) {
        said = monotonicMs();
        this.#say(`${connected} of ${count} connected ${JSON.stringify(failures)}`);
      }
      await sleep(POLL_MS);
    }
  }

  async #untilBack(sinceMs: number, crowd: number, regulars: number): Promise<Storm> {
    const world = this.#world;
    let peakBytes = 0;
    for (let said = monotonicMs(); ;) {
      const [many, few] = [await world.crowd.state(sinceMs), await world.regulars.state(sinceMs)];
      const count = many.back + (regulars === 0 ? 0 : few.back);
      peakBytes = Math.max(peakBytes, this.#residentOrZero());
      const isOver = count >= crowd + regulars || monotonicMs() - sinceMs > STORM_LIMIT_MS;
      if (isOver) {
        const times = [(await world.crowd.state(sinceMs, 'times')).backAfterMs];
        if (regulars > 0) times.push((await world.regulars.state(sinceMs, 'times')).backAfterMs);
        const back = times.flat().sort((a, b) => a - b);
        return { back, of: crowd + regulars, peakBytes, attempts: many.attempts, failures: many.failures };
      }
      if (monotonicMs() - said > PROGRESS_MS) {
        said = monotonicMs();
        this.#say(`${count} of ${crowd + regulars} back ${JSON.stringify(many.failures)}`);
      }
      await sleep(POLL_MS);
    }
  }

  #residentOrZero(): number {
    try {
      return this.#world.residentBytes();
    } catch {
      return 0;
    }
  }

  #storm(name: string, storm: Storm, more: { readonly cpu: number; readonly traffic: TrafficResult | null }): void {
    const at = (share: number): string => `${(percentileOf(storm.back, share) / 1000).toFixed(1)} s`;
    this.#report.say(
      `  ${name}: ${storm.back.length} of ${storm.of} back; p50 ${at(0.5)}, p99 ${at(0.99)}, last ${at(1)}; ` +
        `peak ${megabytes(storm.peakBytes)}, gateway CPU ${more.cpu.toFixed(0)} s, logins begun ${storm.attempts}`,
    );
    if (more.traffic !== null) this.#report.say(`  Traffic of ${REGULARS} meanwhile: ${trafficText(more.traffic)}`);
    const { back, ...rest } = storm;
    const times = Object.fromEntries([0.5, 0.9, 0.99, 1].map((share) => [share, percentileOf(back, share)]));
    this.#report.keep(`storm: ${name}`, { ...rest, count: back.length, times, ...more });
  }

  #say(text: string): void {
    this.#report.say(`  [${new Date().toISOString().slice(11, 19)}] ${text}`);
  }
}

interface Storm {
  /** ms, sorted. */
  readonly back: readonly number[];
  readonly of: number;
  readonly peakBytes: number;
  readonly attempts: number;
  readonly failures: Readonly<Record<string, number>>;
}

function trafficText({ sent, received, p50, p99, max, ownLagP99 }: TrafficResult): string {
  const lost = sent - received;
  const own = `the bench itself late by ${ownLagP99.toFixed(1)} ms`;
  return `round trip p50 ${p50.toFixed(2)}, p99 ${p99.toFixed(2)}, max ${max.toFixed(0)} ms, ${lost} of ${sent} lost (${own} at p99)`;
}

/** A generator that got less than it needs makes every other figure void: its clients fall silent by its own fault. */
function benchText(share: number): string {
  return `the crowd's own process got ${percent(share)} of a core`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MB`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Sizes of the crowd, besides the one asked for. */
const STEPS = [2_000, 10_000];
const TRAFFIC = { from: 0, to: REGULARS, perSecond: 1, bytes: 500, destination: TARGET_ADDRESS };
const RULE_CHANGES = 20;
/** A ping each way in this time. */
const KEEPALIVE_MS = 10_000;
const ROUNDS_MS = 30_000;
const SETTLE_MS = 10_000;
/** Nobody more in this time: the rest is not coming. */
const STALLED_MS = 90_000;
const STORM_LIMIT_MS = 600_000;
/** Twice ping-restart, when a silent client's session ends. */
const DEAD_SESSIONS_MS = 125_000;
const PROGRESS_MS = 10_000;
/** Of a generator that has better things to do. */
const POLL_MS = 1_000;
