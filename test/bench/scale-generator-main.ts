// Thousands of clients in one process, for `make bench-scale`. Requests are JSON lines on standard input, each answered by
// one line on standard output. Runs in a client namespace of the bench and nowhere else.
import { createInterface } from 'node:readline';
import { createSecureContext, type SecureContext } from 'node:tls';
import { parseIpv4 } from '../../net/ipv4.ts';
import { DeadlineHeap } from '../../dataplane/sessions/deadline-heap.ts';
import { ScaleClient } from './scale-client.ts';
import { echoPacket, isEchoReply, readStamp } from './scale-echo.ts';
import { ScaleIdentities } from './scale-identities.ts';
import {
  monotonicMs,
  percentileOf,
  type GeneratorPlan,
  type GeneratorRequest,
  type GeneratorState,
  type ProbeResult,
  type TrafficResult,
} from './scale-protocol.ts';
import { ScaleSockets } from './scale-sockets.ts';

class Generator {
  readonly #plan: GeneratorPlan;
  readonly #identities: ScaleIdentities;
  readonly #clients: readonly ScaleClient[];
  readonly #contexts = new Map<number, SecureContext>();
  readonly #deadlines = new DeadlineHeap<ScaleClient>();
  readonly #sockets: ScaleSockets;
  #onEcho: (sentMs: number) => void = () => undefined;

  constructor(plan: GeneratorPlan) {
    this.#plan = plan;
    this.#identities = ScaleIdentities.import(plan.identities);
    this.#sockets = new ScaleSockets(plan, (index, bytes) => {
      const client = this.#clients[index];
      if (client === undefined) return;
      client.receive(bytes, performance.now());
      this.#touch(client);
    });
    this.#clients = Array.from({ length: plan.clients }, (_, index) => this.#clientFor(index));
    setInterval(() => this.#turn(), TICK_MS);
  }

  async answer(request: Exclude<GeneratorRequest, { kind: 'setup' }>): Promise<unknown> {
    switch (request.kind) {
      case 'login':
        return this.#login(request.from, request.to, request.perSecond ?? Infinity);
      case 'state':
        return this.#state(request.sinceMs - CLOCK_OFFSET_MS, request.detail);
      case 'traffic':
        return this.#traffic(request);
      case 'probe':
        return this.#probe(request);
      case 'exit':
        for (const client of this.#clients.slice(request.from, request.to)) {
          client.exit(performance.now());
          this.#touch(client);
        }
        return undefined;
    }
  }

  #clientFor(index: number): ScaleClient {
    return new ScaleClient(index, {
      transmit: (bytes) => this.#sockets.transmit(index, bytes),
      secureContext: () => this.#contextFor(index % this.#plan.certificates),
      onConnected: (client) => this.#touch(client),
      onInner: (_client, inner) => {
        if (isEchoReply(inner)) this.#onEcho(readStamp(inner));
      },
    });
  }

  /** Kept: OpenSSL takes longer to make one than to shake hands. */
  #contextFor(number: number): SecureContext {
    const known = this.#contexts.get(number);
    if (known !== undefined) return known;
    const { certificatePem: cert, keyPem: key } = this.#identities.client(number);
    const context = createSecureContext({ ca: this.#identities.authority.certificatePem, cert, key });
    this.#contexts.set(number, context);
    return context;
  }

  #touch(client: ScaleClient): void {
    this.#deadlines.set(client, client.nextDeadline());
  }

  #turn(): void {
    const now = performance.now();
    for (let due = this.#deadlines.takeDue(now); due !== undefined; due = this.#deadlines.takeDue(now)) {
      due.onDeadline(now);
      this.#touch(due);
    }
  }

  /** Resolves when all have begun; whether they succeed is what `state` is for. */
  async #login(from: number, to: number, perSecond: number): Promise<void> {
    const begun = performance.now();
    for (let next = from; next < to;) {
      const due = Math.min(to, from + Math.ceil(((performance.now() - begun) * perSecond) / 1000 + Number.EPSILON));
      // One turn starts few: answers must not wait behind all the others' first packets.
      for (let started = 0; next < due && started < STARTS_PER_TURN; started++, next++) {
        this.#clients[next].start(performance.now());
        this.#touch(this.#clients[next]);
      }
      await new Promise((resolve) => setTimeout(resolve, next < due ? 0 : TICK_MS));
    }
  }

  #state(sinceMs: number, detail: 'counts' | 'times'): GeneratorState {
    const now = performance.now();
    const failures: Record<string, number> = {};
    const counts = { connected: 0, attempts: 0, restarts: 0, alive: 0, back: 0 };
    const backAfterMs: number[] = [];
    const loginMs: number[] = [];
    for (const client of this.#clients) {
      counts.attempts += client.attempts;
      counts.restarts += client.restarts;
      if (client.lastFailure !== '') failures[client.lastFailure] = (failures[client.lastFailure] ?? 0) + 1;
      if (!client.isConnected) continue;
      counts.connected += 1;
      if (now - client.lastHeard < ALIVE_MS) counts.alive += 1;
      if (client.connectedAt >= sinceMs) counts.back += 1;
      if (detail === 'counts') continue;
      loginMs.push(client.connectedAt - client.startedAt);
      if (client.connectedAt >= sinceMs) backAfterMs.push(client.connectedAt - sinceMs);
    }
    const ascending = (a: number, b: number): number => a - b;
    const { user, system } = process.cpuUsage();
    return {
      ...counts,
      backAfterMs: backAfterMs.sort(ascending),
      loginMs: loginMs.sort(ascending),
      failures,
      residentBytes: process.memoryUsage.rss(),
      cpuSeconds: (user + system) / 1e6,
      sendErrors: this.#sockets.sendErrors,
    };
  }

  async #traffic(request: Extract<GeneratorRequest, { kind: 'traffic' }>): Promise<TrafficResult> {
    const senders = this.#clients.slice(request.from, request.to).filter((client) => client.isConnected);
    const destination = parseIpv4(request.destination) ?? 0;
    const roundTrips: number[] = [];
    const lags: number[] = [];
    this.#onEcho = (sentMs) => void roundTrips.push(performance.now() - sentMs);
    const total = Math.round(senders.length * request.perSecond * request.seconds);
    const intervalMs = 1000 / (senders.length * request.perSecond);
    const begun = performance.now();
    for (let sent = 0; sent < total;) {
      const now = performance.now();
      for (; sent < total && begun + sent * intervalMs <= now; sent++) {
        lags.push(now - (begun + sent * intervalMs));
        const client = senders[sent % senders.length];
        client.send(echoPacket(client.tunnelAddress, destination, request.bytes, performance.now()), now);
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await new Promise((resolve) => setTimeout(resolve, LAST_ANSWER_MS));
    this.#onEcho = () => undefined;
    roundTrips.sort((a, b) => a - b);
    lags.sort((a, b) => a - b);
    return {
      sent: total,
      received: roundTrips.length,
      p50: percentileOf(roundTrips, 0.5),
      p99: percentileOf(roundTrips, 0.99),
      max: roundTrips.at(-1) ?? NaN,
      ownLagP99: percentileOf(lags, 0.99),
    };
  }

  async #probe(request: Extract<GeneratorRequest, { kind: 'probe' }>): Promise<ProbeResult> {
    const since = request.sinceMs - CLOCK_OFFSET_MS;
    const destination = parseIpv4(request.destination) ?? 0;
    const [client] = this.#clients;
    const passed = new Promise<number>((resolve) => {
      this.#onEcho = (sentMs) => {
        if (sentMs >= since) resolve(sentMs);
      };
    });
    const ask = (): void =>
      client.send(echoPacket(client.tunnelAddress, destination, 64, performance.now()), performance.now());
    const timer = setInterval(ask, request.everyMs);
    const passedAtMs = (await passed) + CLOCK_OFFSET_MS;
    clearInterval(timer);
    return { passedAtMs };
  }
}

const CLOCK_OFFSET_MS = monotonicMs() - performance.now();
const TICK_MS = 5;
const STARTS_PER_TURN = 50;
const ALIVE_MS = 25_000;
const LAST_ANSWER_MS = 1_000;

let generator: Generator | undefined;
for await (const line of createInterface({ input: process.stdin })) {
  const { id, request } = JSON.parse(line) as { id: number; request: GeneratorRequest };
  if (request.kind === 'setup') {
    generator = new Generator(request.plan);
    reply(id, null);
  } else void generator?.answer(request).then((result) => reply(id, result ?? null));
}
process.exit(0);

function reply(id: number, result: unknown): void {
  process.stdout.write(`${JSON.stringify({ id, result })}\n`);
}
