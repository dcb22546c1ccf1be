// Attacks a gateway from within a namespace: a plan on standard input, findings as one JSON line on standard output.
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Opcode } from '../../dataplane/protocol/opcode.ts';
import { frameForTcp } from './tcp-frames.ts';
import type { AttackFindings, AttackPlan } from './attack-plan.ts';
import { ClientDriver } from './client-driver.ts';
import type { ClientOutput } from './client-io.ts';
import { echoRequest } from './echo-request.ts';
import { udpPacket } from './ip-twin.ts';
import { isRefusal } from './inner-packets.ts';
import { clientPacket } from './raw-control.ts';
import { ServicePort } from './agent-protocol.ts';
import { waitFor } from './wait.ts';

const TICK_MS = 5;
const LATE_ANSWERS_MS = 500;
const FLOW_PAYLOAD = new Uint8Array(2);
const BABBLE_FRAMES = 1_000;

/** What is found as the attack goes on. */
class Findings {
  sent = 0;
  received = 0;
  growthBytesMax = -Infinity;
  connected = false;
  closed: string | null = null;
  readonly #answers = new Map<string, number>();
  readonly #perNetworkSecond = new Map<string, number>();
  readonly #counts = new Map<string, number>();

  count(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  answered(opening: string, source: string, growthBytes: number): void {
    this.received += 1;
    this.growthBytesMax = Math.max(this.growthBytesMax, growthBytes);
    this.#answers.set(opening, (this.#answers.get(opening) ?? 0) + 1);
    const second = Math.floor(performance.now() / 1000);
    for (const key of [`${second} ${source.slice(0, source.lastIndexOf('.'))}`, `${second} all`])
      this.#perNetworkSecond.set(key, (this.#perNetworkSecond.get(key) ?? 0) + 1);
  }

  json(): AttackFindings {
    const most = (wanted: (key: string) => boolean): number =>
      Math.max(0, ...[...this.#perNetworkSecond].filter(([key]) => wanted(key)).map(([, count]) => count));
    return {
      sent: this.sent,
      received: this.received,
      growthBytesMax: this.growthBytesMax,
      answersToOneMax: [...this.#answers.values()].reduce((a, b) => Math.max(a, b), 0),
      answersPerNetworkMax: most((key) => !key.endsWith('all')),
      answersPerSecondMax: most((key) => key.endsWith('all')),
      connected: this.connected,
      closed: this.closed,
      counts: Object.fromEntries(this.#counts),
    };
  }
}

if (import.meta.main) {
  const plan = JSON.parse(await text(process.stdin)) as AttackPlan;
  const findings = new Findings();
  await attack(plan, findings);
  process.stdout.write(`${JSON.stringify(findings.json())}\n`, () => process.exit(0));
}

async function attack(plan: AttackPlan, findings: Findings): Promise<void> {
  switch (plan.kind) {
    case 'resets':
      return floodResets(plan, findings);
    case 'halfOpen':
      return holdHalfOpen(plan, findings);
    case 'garbage':
      return floodGarbage(plan, findings);
    case 'tcp':
      return holdTcp(plan, findings);
    case 'babble':
      return babble(plan, findings);
    case 'guess':
      return guess(plan, findings);
    case 'replay':
    case 'garbageInsideTls':
    case 'flows':
    case 'renewals':
    case 'pushRequests':
    case 'deaf':
      return misuseLogin(plan, findings);
  }
}

/** Calls `act` about `perSecond` times a second. */
async function pace(perSecond: number, seconds: number, act: () => void): Promise<void> {
  const started = performance.now();
  let done = 0;
  for (;;) {
    const elapsed = performance.now() - started;
    if (elapsed >= seconds * 1000) return;
    // What was missed while the machine was busy is not made up for.
    const due = Math.min(Math.floor((elapsed / 1000) * perSecond) - done, Math.ceil((perSecond * 20) / 1000));
    for (let count = 0; count < due; count += 1) act();
    done = Math.floor((elapsed / 1000) * perSecond);
    await sleep(TICK_MS);
  }
}

async function udpFrom(plan: AttackPlan, source: string | undefined): Promise<UdpSocket> {
  const socket = createSocket('udp4');
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.bind(source === undefined ? {} : { address: source }, resolve));
  await new Promise<void>((resolve) => socket.connect(plan.port, plan.host, resolve));
  return socket;
}

async function floodResets(plan: Extract<AttackPlan, { kind: 'resets' }>, findings: Findings): Promise<void> {
  const openingBytes = clientPacket().length;
  const sockets = await Promise.all(
    plan.sources.map(async (source) => {
      const socket = await udpFrom(plan, source);
      // [opcode 1][server id 8][ack count 1][ack 4][our id 8] …
      socket.on('message', (bytes) =>
        findings.answered(bytes.subarray(14, 22).toString('hex'), source, bytes.length - openingBytes),
      );
      return socket;
    }),
  );
  await pace(plan.perSecond, plan.seconds, () => {
    sockets[findings.sent % sockets.length].send(clientPacket({ sessionId: randomSessionId() }));
    findings.sent += 1;
  });
  await sleep(LATE_ANSWERS_MS);
}

async function holdHalfOpen(plan: Extract<AttackPlan, { kind: 'halfOpen' }>, findings: Findings): Promise<void> {
  for (const source of plan.sources) {
    for (let count = 0; count < plan.perSource; count += 1) {
      const socket = await udpFrom(plan, source);
      const sessionId = randomSessionId();
      socket.on('message', (bytes) => {
        findings.received += 1;
        if (bytes[0] >> 3 !== Opcode.HardResetServerV2 || findings.of(`${source} ${count}`) > 0) return;
        findings.count('proven');
        const peerSessionId = new Uint8Array(bytes.subarray(1, 9));
        socket.send(clientPacket({ opcode: Opcode.AckV1, sessionId, acks: [0], peerSessionId, messageId: null }));
      });
      socket.send(clientPacket({ sessionId }));
      findings.sent += 1;
      if (findings.sent % 20 === 0) await sleep(TICK_MS);
    }
  }
  await sleep(plan.seconds * 1000);
}

async function floodGarbage(plan: Extract<AttackPlan, { kind: 'garbage' }>, findings: Findings): Promise<void> {
  const socket = await udpFrom(plan, undefined);
  socket.on('message', () => (findings.received += 1));
  await pace(plan.perSecond, plan.seconds, () => {
    const bytes = randomBytes(1 + Math.floor(Math.random() * 1400));
    // Half of them claim to be something.
    if (findings.sent % 2 === 0) bytes[0] = (3 + (findings.sent % 9)) << 3;
    socket.send(bytes);
    findings.sent += 1;
  });
}

async function holdTcp(plan: Extract<AttackPlan, { kind: 'tcp' }>, findings: Findings): Promise<void> {
  const opening = clientPacket();
  const framed = new Uint8Array([0, opening.length, ...opening]);
  const bytes = {
    silent: new Uint8Array(0),
    bytewise: framed,
    jumbo: Uint8Array.of(0xff, 0xff, 0x38),
    zero: Uint8Array.of(0, 0),
    // Longer than any frame may be: whatever length it begins with, it is a whole broken one.
    random: new Uint8Array(randomBytes(4_096)),
  }[plan.manner];
  const { sources = [] } = plan;
  const sockets = Array.from({ length: plan.connections }, (_, index) => {
    const localAddress = sources[index % sources.length];
    const from = localAddress === undefined ? {} : { localAddress };
    const socket = connect({ host: plan.host, port: plan.port, noDelay: true, ...from });
    socket.on('connect', () => findings.count('opened'));
    socket.on('data', () => findings.count('answered'));
    socket.on('error', () => undefined);
    socket.on('close', () => findings.count('cut'));
    return socket;
  });
  const until = performance.now() + plan.seconds * 1000;
  for (let at = 0; performance.now() < until; at += 1) {
    if (at < bytes.length) {
      const part = plan.manner === 'bytewise' ? bytes.subarray(at, at + 1) : bytes;
      for (const socket of sockets) if (socket.writable) socket.write(part);
      findings.sent += sockets.length;
      if (plan.manner !== 'bytewise') at = bytes.length;
    }
    await sleep(50);
  }
}

async function babble(plan: Extract<AttackPlan, { kind: 'babble' }>, findings: Findings): Promise<void> {
  const hello = frameForTcp(clientPacket());
  const nothing = frameForTcp(clientPacket({ opcode: Opcode.AckV1, messageId: null }));
  const babbling = Buffer.concat(Array.from({ length: BABBLE_FRAMES }, () => nothing));
  const until = performance.now() + plan.seconds * 1000;
  const open = (): void => {
    const socket = connect({ host: plan.host, port: plan.port, localAddress: plan.source, noDelay: true });
    const babbleOn = (): void => {
      if (performance.now() >= until) return;
      findings.sent += BABBLE_FRAMES;
      if (socket.write(babbling)) setImmediate(babbleOn);
    };
    socket.on('connect', () => {
      findings.count('opened');
      socket.write(hello);
      babbleOn();
    });
    socket.on('drain', babbleOn);
    socket.on('data', () => findings.count('answered'));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      findings.count('cut');
      if (performance.now() < until) setTimeout(open, TICK_MS);
    });
  };
  for (let count = 0; count < plan.connections; count += 1) open();
  await sleep(plan.seconds * 1000);
}

async function guess(plan: Extract<AttackPlan, { kind: 'guess' }>, findings: Findings): Promise<void> {
  const refused = plan.sources.map((localAddress) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const driver = new ClientDriver({
      host: plan.host,
      port: plan.port,
      localAddress,
      tls: { ca: plan.ca },
      config: { username: plan.username, password: 'a guess' },
      onOutput(output) {
        if (output.kind !== 'closed') return;
        findings.count(output.reason.split(',', 1)[0]);
        driver.close();
        resolve();
      },
    });
    driver.start();
    return promise;
  });
  await Promise.all(refused);
}

type LoginPlan = Extract<AttackPlan, { profile: string }>;

async function misuseLogin(plan: LoginPlan, findings: Findings): Promise<void> {
  const block = (name: string): string => new RegExp(`<${name}>\\n([^]*?)</${name}>`).exec(plan.profile)?.[1] ?? '';
  const inner: Uint8Array[] = [];
  let tunnelAddress = '';
  const driver = new ClientDriver({
    host: plan.host,
    port: plan.port,
    tls: { ca: block('ca'), cert: block('cert'), key: block('key') },
    config: {
      transport: plan.transport,
      pushRequestMs: 100,
      retransmitMs: 500,
      // Without a wrap of its own for renewals, which would hide forged ones.
      ...(plan.kind === 'renewals' ? { protocolBits: 2 | 4 | 8 | 128 } : {}),
    },
    onOutput: (output: ClientOutput) => {
      if (output.kind === 'connected') tunnelAddress = output.settings.tunnelAddress ?? '';
      if (output.kind === 'message') findings.count(output.text.split(',', 1)[0]);
      if (output.kind === 'closed') findings.closed = output.reason;
      if (output.kind === 'dataKey') findings.count('data keys');
      if (output.kind !== 'inner') return;
      findings.received += 1;
      if (isRefusal(output.bytes)) findings.count('refusals');
      if (inner.length < 10) inner.push(output.bytes);
    },
  });
  driver.start();
  await waitFor('the attacker to connect', () => driver.machine.isConnected);
  findings.connected = true;
  const ping = (): void => driver.handle({ kind: 'inner', bytes: echoRequest(tunnelAddress, plan.host) });
  switch (plan.kind) {
    case 'replay': {
      for (let count = 0; count < 20; count += 1) ping();
      const captured = [...driver.sent];
      const other = await udpFrom(plan, undefined);
      await pace(plan.perSecond, plan.seconds, () => {
        const bytes = captured[findings.sent % captured.length];
        if (findings.sent % 2 === 0) other.send(bytes);
        else driver.sendRaw(bytes);
        findings.sent += 1;
      });
      other.on('message', () => findings.count('answers to the other port'));
      break;
    }
    case 'garbageInsideTls':
      for (; findings.sent < plan.bytes && findings.closed === null; findings.sent += 1000) {
        driver.writeInsideTls(findings.sent % 3 === 0 ? randomBytes(1000) : new Uint8Array(1000).fill(65));
        await sleep(1);
      }
      break;
    case 'flows': {
      const until = performance.now() + plan.seconds * 1000;
      while (findings.sent < plan.count && performance.now() < until) {
        for (let burst = 0; burst < 100; burst += 1) {
          driver.handle({ kind: 'inner', bytes: flowPacket(tunnelAddress, plan, findings.sent) });
          findings.sent += 1;
        }
        await sleep(1);
      }
      break;
    }
    case 'renewals': {
      const sessionId = driver.sent[0].slice(1, 9);
      await pace(plan.perSecond, plan.seconds, () => {
        driver.handle({ kind: 'renew' });
        const keyId = 1 + (findings.sent % 7);
        driver.sendRaw(clientPacket({ opcode: Opcode.SoftResetV1, keyId, sessionId }));
        findings.sent += 1;
      });
      break;
    }
    case 'pushRequests':
      await pace(plan.perSecond, plan.seconds, () => {
        driver.handle({ kind: 'controlText', text: 'PUSH_REQUEST' });
        findings.sent += 1;
      });
      break;
    case 'deaf': {
      const request = udpPacket([tunnelAddress, 5000], [plan.source, ServicePort.source], new Uint8Array(8));
      driver.deafen();
      for (let count = 0; count < 10; count += 1) {
        driver.handle({ kind: 'inner', bytes: request });
        driver.handle({ kind: 'controlText', text: 'PUSH_REQUEST' });
        driver.handle({ kind: 'renew' });
        findings.sent += 1;
        await sleep((plan.seconds * 1000) / 10);
      }
      break;
    }
  }
  await sleep(LATE_ANSWERS_MS);
  driver.close();
}

/** Packet `number` of a client that never says anything twice: every second one to a network it may not reach. */
function flowPacket(from: string, plan: Extract<LoginPlan, { kind: 'flows' }>, number: number): Uint8Array {
  const isAllowed = number % 2 === 0;
  const octets = plan.refused.split('.');
  const to = isAllowed ? plan.allowed : `${octets[0]}.${octets[1]}.${(number >> 8) & 255}.${number & 255}`;
  return udpPacket([from, 1024 + (number % 60_000)], [to, 1024 + ((number >> 4) & 0x7fff)], FLOW_PAYLOAD);
}

function randomSessionId(): Uint8Array {
  const id = new Uint8Array(randomBytes(8));
  id[0] |= 1;
  return id;
}
