// The engine as a whole, in each state of a session: a hostile client beside an honest one on virtual time. The hostile
// one forges, mutates, replays and reorders packets, sends anything inside TLS, and everything that can be reported about
// it is reported at the wrong time. FUZZ_INPUTS sets the inputs per state, FUZZ_SECONDS the time per state instead.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ControlWrapKind } from '../../api/endpoint-snapshot.ts';
import { utf8Bytes } from '../../dataplane/protocol/bytes.ts';
import { plainWrap, tlsCryptWrap, type ControlWrap } from '../../dataplane/protocol/control-wrap.ts';
import { formatStaticKey } from '../../dataplane/protocol/static-key.ts';
import type { Input } from '../../dataplane/sessions/engine-io.ts';
import { encodeClientKeyMethod } from '../support/client-key-method.ts';
import { CLIENT_2_6, type ClientConfig } from '../support/client-io.ts';
import { dataPlaneConfig } from '../support/data-plane-configs.ts';
import { reportInputs } from '../support/fuzz-report.ts';
import { countingBytes } from '../support/hex.ts';
import { HostilePeer } from '../support/hostile-peer.ts';
import { mutate } from '../support/mutation.ts';
import { randomBytesFrom, randomFrom, seeded } from '../support/seed.ts';
import type { SimulatedClient } from '../support/simulated-client.ts';
import { grantByCertificate, SimulatedWorld, udpRemote } from '../support/simulated-world.ts';

const INPUTS = Number(process.env['FUZZ_INPUTS'] ?? 15_000);
const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 0);
const INPUTS_PER_EPISODE = 300;
const INPUTS_AFTER_THE_END = 20;
const EPISODES_PER_WORLD = 10;
const KEY = countingBytes(256, 7);
const INNER = new Uint8Array(40).fill(0x45);

type Enter = (world: SimulatedWorld, client: SimulatedClient, newestTls: () => number) => void;

/** States that a hostile client can bring its session into, and how. */
const STATES: Readonly<Record<string, Enter>> = {
  'before the cookie': (_world, client) => {
    client.isMute = true;
    client.start();
  },
  'inside TLS': (world, client) => {
    client.tlsClient = { ...client.tlsClient, manner: 'no-finish' };
    client.start();
    world.advance(500);
  },
  'during the key exchange': (world, client, newestTls) => {
    client.tlsClient = { ...client.tlsClient, manner: 'no-finish' };
    client.start();
    world.advance(500);
    const [dataKeys, dynamicTlsCrypt] = [countingBytes(256, 1), countingBytes(256, 2)];
    const certificate = client.tlsClient.certificate;
    const facts = { certificate, resumed: false, version: 'TLSv1.3', dataKeys, dynamicTlsCrypt };
    world.feed({ kind: 'tlsReady', tls: newestTls(), ...facts });
  },
  'while its login is undecided': (world, client) => {
    client.start();
    world.advance(500);
  },
  authenticated: (world, client) => {
    client.start();
    world.advance(3_000);
  },
  renewing: (world, client) => {
    client.start();
    world.advance(3_000);
    client.handle({ kind: 'renew' });
    world.advance(15);
    client.isMute = true;
    world.advance(15);
  },
  'after its goodbye': (world, client) => {
    client.start();
    world.advance(3_000);
    client.handle({ kind: 'controlText', text: 'EXIT' });
    world.advance(100);
  },
};

const WRAPS: Readonly<Partial<Record<ControlWrapKind, ControlWrap>>> = {
  None: plainWrap(),
  TlsCrypt: tlsCryptWrap(KEY, 'client'),
};

const KEY_METHODS = (['stock', 'aws'] as const).map((framing) =>
  encodeClientKeyMethod({
    framing,
    source: { preMaster: countingBytes(48), random1: countingBytes(32), random2: countingBytes(32) },
    options: CLIENT_2_6.options,
    username: 'mallory',
    password: 'secret',
    peerInfo: 'IV_VER=2.6.14\nIV_PROTO=990\nIV_CIPHERS=AES-256-GCM\n',
  }),
);

const PLAINTEXT = [
  ...KEY_METHODS,
  ...['PUSH_REQUEST\0', 'EXIT\0', 'CR_RESPONSE,c2VjcmV0\0', 'PUSH_REQUEST\0PUSH_REQUEST\0'].map((text) =>
    utf8Bytes(text),
  ),
];

for (const [state, enter] of Object.entries(STATES)) {
  for (const [kind, wrap] of Object.entries(WRAPS) as [ControlWrapKind, ControlWrap][]) {
    test(`nothing a client does ${state} throws, grows or harms another (${kind})`, (context) => {
      const { seed } = seeded(context);
      const random = randomFrom(seed);
      const counts = new Map<string, number>();
      const untilMs = performance.now() + (SECONDS * 1000) / Object.keys(WRAPS).length;
      let episode = 0;
      const goesOn = (): boolean => (SECONDS > 0 ? performance.now() < untilMs : (counts.get('inputs') ?? 0) < INPUTS);
      while (goesOn()) {
        const stage = new Stage({ kind, wrap, random, counts, seed: seed + episode });
        for (let round = 0; round < EPISODES_PER_WORLD && goesOn(); round += 1, episode += 1) stage.attack(enter);
        stage.settle();
      }
      reportInputs(context, counts.get('inputs') ?? 0, counts);
      for (const layer of MUST_REACH[state] ?? []) assert.ok((counts.get(layer) ?? 0) > 0, `no input reached ${layer}`);
    });
  }
}

test('an engine that has been attacked for long is as large as before', (context) => {
  const { seed } = seeded(context);
  const random = randomFrom(seed);
  const stage = new Stage({ kind: 'None', wrap: plainWrap(), random, counts: new Map(), seed });
  const round = (): number => {
    for (const enter of Object.values(STATES)) {
      stage.attack(enter);
      stage.attack(enter);
    }
    stage.settle();
    return heapBytes();
  };
  round();
  const before = round();
  let after = before;
  for (let again = 0; again < 6; again += 1) after = round();
  context.diagnostic(`heap ${before} bytes before, ${after} after`);
  // What the simulated world remembers of its clients counts too.
  assert.ok(after - before < 3_000_000, `the heap grew by ${after - before} bytes`);
});

interface StageParts {
  readonly kind: ControlWrapKind;
  readonly wrap: ControlWrap;
  readonly random: () => number;
  /** Inputs by kind, and the layers they got into. */
  readonly counts: Map<string, number>;
  readonly seed: number;
}

/** A world with an honest client in it, attacked again and again. */
class Stage {
  readonly #parts: StageParts;
  readonly #world: SimulatedWorld;
  readonly #honest: SimulatedClient;
  /** TLS connections opened while the honest client did nothing. */
  readonly #hostileTls = new Set<number>();
  readonly #spoken = new Set<number>();
  #honestOpensTls = true;
  #attackers = 0;
  #innerSent = 0;

  constructor(parts: StageParts) {
    this.#parts = parts;
    const world = new SimulatedWorld({
      seed: parts.seed,
      timers: { renegotiateMs: 0 },
      config: dataPlaneConfig({
        snapshot: { controlWrap: parts.kind },
        ...(parts.kind === 'None' ? {} : { controlWrapKey: formatStaticKey(KEY) }),
      }),
      limits: { endedConnections: 50, failedConnections: 50 },
      authenticate: (request) =>
        request.certificate?.chain.some((leaf) => leaf.length > 8) === true ? undefined : grantByCertificate(request),
    });
    this.#world = world;
    const openServer = world.tls.openServer.bind(world.tls);
    world.tls.openServer = (tls) => {
      if (!this.#honestOpensTls) this.#hostileTls.add(tls);
      openServer(tls);
    };
    const input = world.tls.input.bind(world.tls);
    world.tls.input = (tls, bytes) => {
      if (this.#hostileTls.has(tls)) this.#count('reached TLS');
      input(tls, bytes);
    };
    const close = world.tls.close.bind(world.tls);
    world.tls.close = (tls) => {
      this.#hostileTls.delete(tls);
      close(tls);
    };
    this.#honest = world.connect({ name: 'alice', address: '192.0.2.1', config: this.#config(990) });
  }

  /** One hostile session, brought into a state and then let loose. */
  attack(enter: Enter): void {
    const world = this.#world;
    this.#honestOpensTls = false;
    this.#hostileTls.clear();
    this.#attackers += 1;
    // With and without a wrap of its own for renewals. The long name is one whose login is never decided.
    const config = this.#config(this.#parts.random() < 0.5 ? 990 : 2 | 4 | 8 | 128);
    const name = enter === STATES['while its login is undecided'] ? 'undecided-mallory' : 'mallory';
    const address = `198.51.${this.#attackers % 250}.7`;
    const client = world.client({ name, address, port: 1024 + this.#attackers, config });
    enter(world, client, () => [...this.#hostileTls].at(-1) ?? 0);
    this.#letLoose(client);
    client.isMute = true;
    client.sent.length = 0;
    client.received.length = 0;
    world.transmitted.length = 0;
    world.commands.length = 0;
    world.events.length = 0;
    world.requests.length = 0;
    this.#checkHonest();
  }

  /** When all timers have run out, nothing of the attackers is left. */
  settle(): void {
    const world = this.#world;
    world.feed({ kind: 'memory', isShort: false });
    world.advance(400_000);
    this.#checkHonest();
    const { connected, opening, addressesUsed, handshakeBytes, drops } = world.engine.stats();
    const held = {
      connected,
      opening,
      addressesUsed,
      handshakeBytes,
      tls: world.tls.size,
      peers: world.tunnel.peers.size,
    };
    assert.deepEqual(held, { connected: 1, opening: 0, addressesUsed: 1, handshakeBytes: 0, tls: 1, peers: 1 });
    assert.ok(drops.size < 60, 'reasons are a closed set');
    this.#honestOpensTls = true;
    const late = world.connect({ name: 'bob', address: '192.0.2.2', config: this.#config(990) });
    late.handle({ kind: 'exit' });
    world.advance(10_000);
    this.#honestOpensTls = false;
    assert.equal(world.engine.stats().connected, 1);
  }

  #letLoose(client: SimulatedClient): void {
    const { random, wrap } = this.#parts;
    const world = this.#world;
    const server = client.received.map((bytes) => sessionIdOf(bytes)).find((packet) => packet !== undefined);
    const hostile = new HostilePeer({
      random,
      wrap,
      unixS: Math.floor(world.clock.unixMs / 1000),
      sessionId: client.sent[0].slice(1, 9),
      serverSessionId: server ?? null,
      captured: client.sent,
      nextMessageId: 5,
    });
    const hadSession = this.#hostileTls.size > 0;
    for (let [count, late] = [0, 0]; count < INPUTS_PER_EPISODE && late < INPUTS_AFTER_THE_END; count += 1) {
      if (hadSession && this.#hostileTls.size === 0) late += 1;
      const choice = random();
      if (choice < 0.75) this.#sendPacket(client, hostile.packet());
      else this.#feed(this.#untimely(client, choice < 0.85 ? 'tlsPlaintext' : undefined));
      if (random() < 0.3) world.advance(random() < 0.02 ? 20_000 : random() * 40);
    }
  }

  #sendPacket(client: SimulatedClient, bytes: Uint8Array): void {
    const world = this.#world;
    const choice = this.#parts.random();
    // From its own address, from a stranger's, from the honest client's.
    const remote =
      choice < 0.8
        ? client.remote
        : choice < 0.9
          ? udpRemote(`203.0.113.${this.#attackers % 250}`, 7)
          : this.#honest.remote;
    const [sentBefore, droppedBefore] = [world.transmitted.length, dropCount(world)];
    this.#feed({ kind: 'datagram', remote, bytes });
    if (dropCount(world) === droppedBefore) this.#count('packets that had an effect');
    if (remote !== client.remote && remote !== this.#honest.remote) {
      const answers = world.transmitted.slice(sentBefore);
      assert.ok(answers.length <= 1, `${answers.length} answers to a stranger`);
      assert.ok(answers.every((answer) => answer.bytes.length <= bytes.length + 12));
    }
  }

  /** Something that may happen at any time, about this client or one that is long gone. */
  #untimely(client: SimulatedClient, wanted?: Input['kind']): Input {
    const { random } = this.#parts;
    const below = (limit: number): number => Math.floor(random() * limit);
    const tls = [...this.#hostileTls][below(this.#hostileTls.size)] ?? 1_000_000;
    const peer = [...this.#world.tunnel.peers.values()].find(({ record }) => record.peerId !== 0)?.record;
    const about = { peerId: peer?.peerId ?? below(3) + 1, generation: (peer?.generation ?? 1) - below(2) };
    const inputs: readonly Input[] = [
      { kind: 'tlsPlaintext', tls, bytes: this.#plaintext(tls) },
      { kind: 'tlsOutput', tls, bytes: randomBytesFrom(random, below(2_000)) },
      ...(random() < 0.05 ? [{ kind: 'tlsFailed', tls, reason: 'tls-alert' } as const] : []),
      { kind: 'tlsPlaintext', tls: tls + 1_000_000, bytes: utf8Bytes('EXIT\0') },
      {
        kind: 'authenticated',
        requestId: 1_000_000 + below(3),
        verdict: {
          kind: 'denied',
          reason: 'bad-password',
          message: 'x',
          certificateRefused: false,
          isTemporary: false,
        },
      },
      {
        kind: 'authenticationPending',
        requestId: this.#world.requests.at(-1)?.requestId ?? 0,
        timeoutMs: below(100_000),
        prompt: ([null, { kind: 'web', url: 'https://a.example' }, { kind: 'text', text: '?', echo: true }] as const)[
          below(3)
        ],
      },
      { kind: 'transportClosed', remote: random() < 0.02 ? client.remote : udpRemote('203.0.113.9', 9) },
      { kind: 'terminate', connectionId: 'cvpn-connection-0' },
      { kind: 'dataChannel', notification: { kind: 'floated', ...about, remote: this.#someAddress(client) } },
      { kind: 'dataChannel', notification: { kind: 'keyExhausted', ...about, keyId: below(8) } },
      { kind: 'dataChannel', notification: { kind: 'keySwitched', ...about, keyId: below(8) } },
      ...(random() < 0.05 ? [{ kind: 'dataChannel', notification: { kind: 'exitNotified', ...about } } as const] : []),
      ...(random() < 0.05 ? [{ kind: 'memory', isShort: random() < 0.3 } as const] : []),
      { kind: 'deadline' },
    ];
    return inputs.find(({ kind }) => kind === wanted) ?? inputs[below(inputs.length)];
  }

  #plaintext(tls: number): Uint8Array {
    const { random } = this.#parts;
    if (this.#hostileTls.has(tls) && !this.#spoken.has(tls)) {
      this.#spoken.add(tls);
      // Nothing else leads on from here.
      if (random() < 0.5) return random() < 0.5 ? KEY_METHODS[0] : mutate(KEY_METHODS, random);
    }
    const choice = random();
    if (choice < 0.02) return new Uint8Array(16_384).fill(65);
    if (choice < 0.4) return utf8Bytes('PUSH_REQUEST\0');
    if (choice < 0.6) return PLAINTEXT[Math.floor(random() * PLAINTEXT.length)];
    return mutate(PLAINTEXT, random);
  }

  #someAddress(client: SimulatedClient): Uint8Array {
    const { random } = this.#parts;
    const remote =
      random() < 0.4 ? client.remote : random() < 0.5 ? this.#honest.remote : udpRemote('203.0.113.50', 50);
    return remote.kind === 'udp' ? remote.wire : new Uint8Array(0);
  }

  #feed(input: Input): void {
    this.#count('inputs');
    const sizes = this.#world.requests.length;
    const isInsideTls = input.kind === 'tlsPlaintext' && this.#hostileTls.has(input.tls);
    try {
      this.#world.feed(input);
    } catch (error) {
      const bytes = 'bytes' in input ? Buffer.from(input.bytes).toString('hex') : JSON.stringify(input);
      throw new assert.AssertionError({ message: `${input.kind} ${bytes}: ${String(error)}` });
    }
    if (isInsideTls) this.#count('inside TLS');
    if (this.#world.requests.length > sizes) this.#count('logins judged');
  }

  #checkHonest(): void {
    const world = this.#world;
    assert.equal(this.#honest.closed, undefined, 'the honest client is connected');
    this.#innerSent += 1;
    this.#honest.handle({ kind: 'inner', bytes: INNER });
    world.advance(100);
    const peer = world.tunnel.peers.get(0);
    assert.equal(peer?.received.length, this.#innerSent, 'its packets arrive');
    const heard = this.#honest.received.length;
    world.down.send(world.tunnel.seal(0, INNER), (bytes) => this.#honest.receive(bytes));
    world.advance(100);
    assert.equal(this.#honest.inner.length, this.#innerSent, 'and it gets its own');
    assert.ok(this.#honest.received.length > heard);
    this.#honest.received.length = 0;
    this.#honest.sent.length = 0;
    this.#count('pings of the honest client');
  }

  #config(protocolBits: number): Partial<ClientConfig> {
    const wrap = this.#parts.kind === 'None' ? ({ kind: 'none' } as const) : ({ kind: 'tls-crypt', key: KEY } as const);
    return { wrap, protocolBits, retransmitMs: 2_000 };
  }

  #count(name: string): void {
    this.#parts.counts.set(name, (this.#parts.counts.get(name) ?? 0) + 1);
  }
}

/** The server's session id in one of its packets. */
function sessionIdOf(bytes: Uint8Array): Uint8Array | undefined {
  return bytes.length > 9 && bytes[0] >> 3 >= 3 && bytes[0] >> 3 !== 9 ? bytes.slice(1, 9) : undefined;
}

function dropCount(world: SimulatedWorld): number {
  let total = 0;
  for (const count of world.engine.stats().drops.values()) total += count;
  return total;
}

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const MUST_REACH: Readonly<Record<string, readonly string[]>> = {
  'inside TLS': ['reached TLS', 'packets that had an effect'],
  'during the key exchange': ['logins judged'],
  authenticated: ['reached TLS', 'inside TLS'],
  renewing: ['reached TLS', 'inside TLS'],
};
