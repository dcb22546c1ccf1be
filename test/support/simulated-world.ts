import type { AuthenticationRequest, AuthenticationVerdict, Identity } from '../../api/authentication.ts';
import type { Connection } from '../../api/connection.ts';
import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import { SOCKET_ADDRESS_BYTES, type SocketAddressBytes } from '../../dataplane/data-channel.ts';
import type { Authenticator } from '../../dataplane/auth/authenticator.ts';
import { LoginDesk } from '../../dataplane/io/login-desk.ts';
import type { DataPlaneMemory, EngineTimers } from '../../dataplane/process-messages.ts';
import { isDataOpcode, opcodeOf } from '../../dataplane/protocol/opcode.ts';
import { Engine } from '../../dataplane/sessions/engine.ts';
import type { DataChannelCommand, EngineEvent, Input, Output, Remote } from '../../dataplane/sessions/engine-io.ts';
import type { EngineLimits } from '../../dataplane/sessions/engine-options.ts';
import { CLIENT_2_6, type ClientConfig } from './client-io.ts';
import { dataPlaneConfig } from './data-plane-configs.ts';
import { FakeTunnel, type FakePeer } from './fake-tunnel.ts';
import { CLEAN, NoisyLink, type Noise } from './noisy-link.ts';
import { PassThroughTls, type PassThroughClient } from './pass-through-tls.ts';
import { randomBytesFrom, randomFrom } from './seed.ts';
import { SimulatedClient } from './simulated-client.ts';
import { VirtualClock } from './virtual-clock.ts';

export const TIMERS: EngineTimers = {
  handWindowMs: 60_000,
  renegotiateMs: 3_600_000,
  pingMs: 10_000,
  pingRestartMs: 60_000,
  lingerMs: 5_000,
  retransmitMs: 2_000,
  transitionWindowMs: 3_600_000,
  clientRenewalPauseMs: 10_000,
};

export interface WorldOptions {
  readonly config?: DataPlaneConfig;
  readonly timers?: Partial<EngineTimers>;
  readonly limits?: Partial<EngineLimits>;
  readonly threads?: number;
  readonly slots?: number;
  readonly memory?: DataPlaneMemory;
  readonly noise?: Noise;
  readonly seed?: number;
  /** Undefined leaves a login undecided; see `decide`. By default the certificate's text is the common name. */
  readonly authenticate?: (request: AuthenticationRequest) => AuthenticationVerdict | undefined;
  /** Judges logins in place of `authenticate`, in its own time: let it have its turn between two advances. */
  readonly authenticator?: Authenticator;
}

export interface Transmission {
  readonly at: number;
  readonly remote: Remote;
  readonly bytes: Uint8Array;
}

/** An engine, its tunnel threads, TLS and clients on a network of virtual time. */
export class SimulatedWorld {
  readonly clock = new VirtualClock();
  readonly engine: Engine;
  readonly tunnel: FakeTunnel;
  readonly tls: PassThroughTls;
  readonly random: () => number;
  /** From clients to the server, and back. */
  readonly up: NoisyLink;
  readonly down: NoisyLink;
  readonly events: EngineEvent[] = [];
  readonly commands: DataChannelCommand[] = [];
  readonly requests: AuthenticationRequest[] = [];
  readonly cancelled: number[] = [];
  readonly closedTransports: Remote[] = [];
  /** Control packets as they left the server. */
  readonly transmitted: Transmission[] = [];
  readonly #authenticate: (request: AuthenticationRequest) => AuthenticationVerdict | undefined;
  readonly #logins: LoginDesk | undefined;
  readonly #clients = new Map<string, SimulatedClient>();
  readonly #allClients: SimulatedClient[] = [];
  #nextTcp = 0;

  constructor(options: WorldOptions = {}) {
    this.random = randomFrom(options.seed ?? 1);
    this.up = new NoisyLink(this.clock, this.random, options.noise ?? CLEAN);
    this.down = new NoisyLink(this.clock, this.random, options.noise ?? CLEAN);
    this.#authenticate = options.authenticate ?? grantByCertificate;
    if (options.authenticator !== undefined)
      this.#logins = new LoginDesk({
        authenticator: options.authenticator,
        feed: (input) => this.feed(input),
        now: () => this.clock.now,
        onVerdict: () => undefined,
      });
    this.tls = new PassThroughTls(this.clock, (event) => this.feed(event));
    this.tunnel = new FakeTunnel(
      this.clock,
      (notification) => this.clock.after(0, () => this.feed({ kind: 'dataChannel', notification })),
      (peer, packet) => this.#sendData(peer, packet),
    );
    this.engine = new Engine({
      config: options.config ?? dataPlaneConfig(),
      timers: { ...TIMERS, ...options.timers },
      threads: options.threads ?? 1,
      slots: options.slots ?? 1_024,
      random: (count) => randomBytesFrom(this.random, count),
      wallClock: () => this.clock.unixMs,
      memory: options.memory ?? { leases: [], totpSteps: [] },
      remoteFrom: remoteFromWire,
      traffic: (peerId) => this.tunnel.traffic(peerId),
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
  }

  feed(input: Input): void {
    for (const output of this.engine.handle(input, this.clock.now)) this.#carryOut(output);
  }

  /** Lets time pass for everybody. */
  advance(ms: number): void {
    const engine = {
      nextDeadline: () => this.engine.nextDeadline(),
      onDeadline: () => this.feed({ kind: 'deadline' }),
    };
    const tunnel = { nextDeadline: () => this.tunnel.nextDeadline(), onDeadline: () => this.tunnel.onDeadline() };
    this.clock.advance(ms, [engine, tunnel, ...this.#allClients]);
  }

  /** A client at an address of its own, not yet started. */
  client(changes: Partial<SimulatedClientOptions> = {}): SimulatedClient {
    const { name = 'alice', tls = {}, address = `198.51.100.${this.#allClients.length + 1}`, port = 40_000 } = changes;
    const transport = changes.config?.transport ?? 'udp';
    const remote = transport === 'udp' ? udpRemote(address, port) : tcpRemote(address, port, this.#nextTcp++ << 8);
    const client = new SimulatedClient({
      world: this,
      remote,
      tls: { manner: 'honest', certificate: certificateNamed(name), ...tls },
      config: {
        ...CLIENT_2_6,
        random: (count) => randomBytesFrom(this.random, count),
        unixS: Math.floor(this.clock.unixMs / 1000),
        ...changes.config,
      },
    });
    this.#allClients.push(client);
    this.place(client);
    return client;
  }

  /** Packets for the client's address reach this client from now on. */
  place(client: SimulatedClient): void {
    this.#clients.set(client.remote.key, client);
  }

  /** A client that has connected; fails the test if it has not within 5 s. */
  connect(changes: Partial<SimulatedClientOptions> = {}): SimulatedClient {
    const client = this.client(changes);
    client.start();
    this.advance(5_000);
    if (!client.machine.isConnected) throw new RangeError(`Not connected: ${client.messages.join(' | ')}`);
    return client;
  }

  decide(requestId: number, verdict: AuthenticationVerdict): void {
    this.feed({ kind: 'authenticated', requestId, verdict });
  }

  connections(): readonly Connection[] {
    return this.engine.connections(this.clock.now, () => undefined);
  }

  eventsOf<K extends EngineEvent['kind']>(kind: K): readonly Extract<EngineEvent, { kind: K }>[] {
    return this.events.filter((event): event is Extract<EngineEvent, { kind: K }> => event.kind === kind);
  }

  /** A packet from a client's address to the server, as the kernel would steer it. */
  receive(remote: Remote, bytes: Uint8Array): void {
    if (bytes.length === 0 || !isDataOpcode(opcodeOf(bytes[0]))) {
      this.feed({ kind: 'datagram', remote, bytes });
      return;
    }
    const wire = remote.kind === 'udp' ? remote.wire : null;
    const byAddress = [...this.tunnel.peers.values()].find(({ record, remote: current }) =>
      remote.kind === 'tcp'
        ? record.transport.kind === 'tcp' && record.transport.connection === remote.connection
        : current !== null && Buffer.compare(current, remote.wire) === 0,
    );
    this.tunnel.receive(bytes, wire, byAddress);
  }

  #sendData(peer: FakePeer, packet: Uint8Array): void {
    const { transport } = peer.record;
    const key =
      peer.remote === null
        ? `tcp/${transport.kind === 'tcp' ? transport.connection : ''}`
        : remoteFromWire(peer.remote).key;
    this.down.send(packet, (bytes) => this.#clients.get(key)?.receive(bytes));
  }

  #carryOut(output: Output): void {
    switch (output.kind) {
      case 'transmit': {
        this.transmitted.push({ at: this.clock.now, remote: output.remote, bytes: output.bytes });
        const { key } = output.remote;
        this.down.send(output.bytes, (bytes) => this.#clients.get(key)?.receive(bytes));
        return;
      }
      case 'closeTransport':
        this.closedTransports.push(output.remote);
        return;
      case 'tlsStart':
        this.tls.openServer(output.tls);
        return;
      case 'tlsInput':
        this.tls.input(output.tls, output.bytes);
        return;
      case 'tlsWrite':
        this.tls.write(output.tls, output.bytes);
        return;
      case 'tlsClose':
        this.tls.close(output.tls);
        return;
      case 'authenticate': {
        this.requests.push(output.request);
        if (this.#logins !== undefined) {
          this.#logins.begin(output.request);
          return;
        }
        const verdict = this.#authenticate(output.request);
        if (verdict !== undefined) this.clock.after(1, () => this.decide(output.request.requestId, verdict));
        return;
      }
      case 'cancelAuthentication':
        this.cancelled.push(output.requestId);
        this.#logins?.cancel(output.requestId);
        return;
      case 'answerAuthentication':
        this.#logins?.answer(output.requestId, output.answer);
        return;
      case 'dataChannel':
        this.commands.push(output.command);
        this.tunnel.program(output.command);
        return;
      case 'event':
        this.events.push(output.event);
    }
  }
}

export interface SimulatedClientOptions {
  /** Common name of its certificate. */
  readonly name: string;
  readonly tls: Partial<PassThroughClient>;
  readonly config: Partial<ClientConfig>;
  readonly address: string;
  readonly port: number;
}

export function grantByCertificate(request: AuthenticationRequest): AuthenticationVerdict {
  return { kind: 'granted', identity: identityOf(request), authToken: null };
}

/** Who the certificate of a simulated client names, with the user name it sent. */
export function identityOf(request: AuthenticationRequest, groups: readonly string[] = []): Identity {
  const leaf = request.certificate?.chain[0];
  const commonName = leaf === undefined ? '' : new TextDecoder().decode(leaf);
  return {
    username: request.username === '' ? commonName : request.username,
    commonName,
    certificateFingerprints: leaf === undefined ? [] : [Buffer.from(leaf).toString('hex').toUpperCase()],
    certificateSerial: leaf === undefined ? null : { issuerNameHash: 'CA', serial: serialOf(commonName) },
    groups,
  };
}

/** The serial number of a simulated certificate, upper-case hex. */
export function serialOf(commonName: string): string {
  return Buffer.from(commonName).toString('hex').toUpperCase();
}

export function denied(
  message: string,
  changes: { readonly certificateRefused?: boolean; readonly isTemporary?: boolean } = {},
): AuthenticationVerdict {
  const { certificateRefused = false, isTemporary = false } = changes;
  return { kind: 'denied', reason: 'bad-password', message, certificateRefused, isTemporary };
}

export function udpRemote(address: string, port: number): Extract<Remote, { kind: 'udp' }> {
  const wire = new Uint8Array(SOCKET_ADDRESS_BYTES);
  wire.set(new TextEncoder().encode(`${address} ${port}`));
  return { kind: 'udp', key: `udp/${address}/${port}`, address, port, wire };
}

function tcpRemote(address: string, port: number, connection: number): Remote {
  return { kind: 'tcp', key: `tcp/${connection}`, address, port, connection };
}

function remoteFromWire(wire: SocketAddressBytes): Remote {
  const [address = '', port = ''] = new TextDecoder().decode(wire.subarray(0, wire.indexOf(0))).split(' ');
  return udpRemote(address, Number(port));
}

function certificateNamed(name: string): PassThroughClient['certificate'] {
  return { chain: [new TextEncoder().encode(name)], authorizationError: null };
}
