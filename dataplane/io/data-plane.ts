import { performance } from 'node:perf_hooks';
import type { Connection } from '../../api/connection.ts';
import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import { parseIpv4Prefix } from '../../net/ipv4-prefix.ts';
import { TerminalError } from '../../net/errors.ts';
import { LocalProvider } from '../auth/local-provider.ts';
import { LoginAuthenticator } from '../auth/login-authenticator.ts';
import type { DataPlaneMessage, DataPlaneStart, EngineTimers } from '../process-messages.ts';
import { gatewayAddressOf } from '../sessions/address-pool.ts';
import { Engine } from '../sessions/engine.ts';
import { startAdminServer, type AdminServer } from './admin-server.ts';
import { CodeReports } from './code-reports.ts';
import { ControlSocket, type ControlSocketOptions, udpRemote } from './control-socket.ts';
import { Driver } from './driver.ts';
import { loadAddon } from './load-addon.ts';
import { LogSink } from './log-sink.ts';
import { createLogger, type Logger } from './logger.ts';
import { SignedLoginTokens } from './login-tokens.ts';
import type { NativeAddon } from './native-addon.ts';
import { LeaseReports } from './lease-reports.ts';
import { readMemoryBounds } from './memory-bounds.ts';
import { MemoryWatch } from './memory-watch.ts';
import { Observers } from './observers.ts';
import { RandomPool } from './random-pool.ts';
import type { SupervisorChannel } from './supervisor-channel.ts';
import { TlsEndpoint } from './tls-endpoint.ts';
import { TunnelHost } from './tunnel-host.ts';

/** Where it reports to. */
export type Supervisor = Pick<SupervisorChannel, 'send' | 'isBehind'>;

/** A data plane on open descriptors: everything between the supervisor's messages and the packets. */
export class DataPlane {
  readonly #send: (message: DataPlaneMessage) => void;
  readonly #log: Logger;
  readonly #sink: LogSink;
  readonly #tunnel: TunnelHost;
  readonly #tls: TlsEndpoint;
  readonly #local: LocalProvider;
  readonly #tokens: SignedLoginTokens;
  readonly #authenticator: LoginAuthenticator;
  readonly #engine: Engine;
  readonly #control: ControlSocket | null;
  readonly #observers: Observers;
  readonly #driver: Driver;
  readonly #leases: LeaseReports;
  readonly #codes: CodeReports;
  #inForce: DataPlaneConfig;
  #admin: AdminServer | undefined;
  #memory: MemoryWatch | undefined;
  #isServing = false;

  /** Resolves when clients can connect. @throws TerminalError naming what a person must change. */
  static async start(start: DataPlaneStart, supervisor: Supervisor): Promise<DataPlane> {
    const addon = loadAddon();
    addon.hideMemory();
    const plane = new DataPlane(start, supervisor, addon, await startTunnel(start, addon));
    await plane.#serve(start);
    return plane;
  }

  private constructor(start: DataPlaneStart, supervisor: Supervisor, addon: NativeAddon, tunnel: TunnelHost) {
    const { config, memory, descriptors } = start;
    const send = (message: DataPlaneMessage): void => supervisor.send(message);
    this.#send = send;
    this.#inForce = config;
    this.#tunnel = tunnel;
    this.#sink = new LogSink(process.stdout);
    const bindings = { endpoint: config.snapshot.endpoint.name };
    this.#log = createLogger({ level: start.logLevel, sink: this.#sink, bindings });
    this.#tokens = new SignedLoginTokens({ now: Date.now, ...tokenOptionsOf(config) });
    this.#local = new LocalProvider({
      now: Date.now,
      tokens: this.#tokens,
      usedTotpSteps: memory.totpSteps,
      onTotpUsed: () => this.#codes.keep(),
    });
    this.#codes = new CodeReports({ read: () => this.#local.usedTotpSteps(), send });
    this.#authenticator = new LoginAuthenticator({
      now: Date.now,
      local: this.#local,
      onFault: (fault) => this.#observers.onLoginFault(fault),
    });
    this.#authenticator.reconfigure(config);
    this.#tls = new TlsEndpoint({
      addon,
      credentials: credentialsOf(config),
      deliver: (input) => this.#driver.feed(input),
    });
    const random = new RandomPool();
    this.#engine = new Engine({
      config,
      timers: { ...DEFAULT_TIMERS, ...start.timers },
      threads: tunnel.threads,
      slots: tunnel.slots,
      random: (count) => random.take(count),
      wallClock: Date.now,
      memory,
      remoteFrom: (wire) => udpRemote(addon, wire),
      traffic: (peerId) => tunnel.traffic(peerId),
    });
    this.#control = controlSocketOf(descriptors.udpControl, addon, (remote, bytes) =>
      this.#driver.onDatagram(remote, bytes),
    );
    this.#observers = new Observers({
      log: this.#log,
      sink: this.#sink,
      engine: this.#engine,
      tunnel,
      config,
      local: this.#local,
      openingsRefused: () => this.#control?.openingsRefused ?? 0,
      queueDrops: () => this.#control?.queueDrops ?? 0,
    });
    this.#driver = new Driver({
      addon,
      engine: this.#engine,
      tunnel,
      tls: this.#tls,
      authenticator: this.#authenticator,
      control: this.#control,
      onEvent: (event) => this.#observers.onEvent(event),
      onLogin: (seconds) => this.#observers.metrics.loginTook(seconds),
      onFault: (error, input) => this.#observers.onFault(error, input),
    });
    this.#leases = new LeaseReports({
      revision: () => this.#engine.leaseRevision(),
      read: () => this.#engine.leases(),
      isBehind: () => supervisor.isBehind,
      send: (leases) => send({ kind: 'leases', leases }),
    });
  }

  /** Takes a configuration and tells the supervisor when every thread enforces it, or why it is refused. */
  async apply(config: DataPlaneConfig): Promise<void> {
    const { version, digest } = config.snapshot;
    const begun = performance.now();
    try {
      this.#tls.setCredentials(credentialsOf(config));
      this.#driver.configure(config);
    } catch (error) {
      this.#tls.setCredentials(credentialsOf(this.#inForce));
      const reason = error instanceof Error ? error.message : String(error);
      this.#log.error({ version, cause: reason }, 'Refused snapshot');
      this.#send({ kind: 'rejected', version, digest, reason });
      return;
    }
    this.#inForce = config;
    this.#tokens.reconfigure(tokenOptionsOf(config));
    this.#authenticator.reconfigure(config);
    this.#observers.configure(config);
    await this.#driver.enforced();
    this.#log.info({ version, ms: Math.round(performance.now() - begun) }, 'Enforced snapshot');
    this.#send({ kind: 'applied', version, digest });
  }

  connections(): readonly Connection[] {
    return this.#driver.connections();
  }

  /** @returns whether an active connection had the id. */
  terminate(connectionId: string): boolean {
    const found = this.connections().some(
      (connection) => connection.connectionId === connectionId && connection.status === 'active',
    );
    if (found) this.#driver.feed({ kind: 'terminate', connectionId });
    return found;
  }

  /** Of manifests that are refused nothing else comes here. */
  manifestsJudged(areRefused: boolean): void {
    this.#observers.onManifests(areRefused);
  }

  /** The supervisor has written what `codesUsed` of this number told. */
  codesKept(sequence: number): void {
    this.#codes.kept(sequence);
  }

  /** Says goodbye to the clients, for at most `limitMs`, and ends everything it started. */
  async stop(reason: string, limitMs: number): Promise<void> {
    this.#isServing = false;
    this.#log.info({ cause: reason }, 'Stopping');
    await this.#driver.shutdown(limitMs);
    this.#leases.tell();
    this.#leases.close();
    this.#memory?.close();
    this.#control?.close();
    await this.#tunnel.stop();
    await this.#admin?.close();
    this.#observers.close();
    this.#log.info('Stopped');
    await this.#sink.flush(LOG_FLUSH_MS);
  }

  async #serve(start: DataPlaneStart): Promise<void> {
    const { metricsListen, config } = start;
    if (metricsListen !== null) {
      this.#admin = await startAdminServer({
        ...metricsListen,
        metrics: () => this.#observers.metrics.exposition(),
        notReady: () => (this.#isServing ? null : 'the tunnel is not open'),
      });
      this.#log.info({ host: metricsListen.host, port: this.#admin.port }, 'Serving metrics');
    }
    await this.apply(config);
    this.#memory = new MemoryWatch({
      read: () => readMemoryBounds(),
      onChange: (short) => {
        this.#driver.feed({ kind: 'memory', isShort: short !== null });
        this.#observers.onMemory(short);
      },
    });
    this.#isServing = true;
    const { transport, port } = config.snapshot;
    const facts = { targetNetwork: config.targetNetwork, transport, port, threads: this.#tunnel.threads };
    this.#log.info(facts, 'Started data plane');
  }
}

async function startTunnel(start: DataPlaneStart, addon: NativeAddon): Promise<TunnelHost> {
  const { descriptors, config } = start;
  const { transport, clientCIDR } = config.snapshot;
  const clientCidr = parseIpv4Prefix(clientCIDR);
  if (clientCidr === undefined) throw new TerminalError(`clientCIDR "${clientCIDR}" is no IPv4 network`);
  return TunnelHost.start({
    addon,
    transport,
    udpDescriptors: descriptors.udpTunnel,
    tcpDescriptors: descriptors.tcp,
    tunDescriptors: descriptors.tun,
    clientCidr,
    gatewayAddress: gatewayAddressOf(clientCidr),
    tunMtu: TUN_MTU_BYTES,
  });
}

function controlSocketOf(
  fd: number | null,
  addon: NativeAddon,
  onDatagram: ControlSocketOptions['onDatagram'],
): ControlSocket | null {
  return fd === null ? null : new ControlSocket({ addon, fd, onDatagram });
}

function credentialsOf(config: DataPlaneConfig) {
  const { serverCertificatePem, serverKeyPem, clientCaPem } = config.secrets;
  return { certificatePem: serverCertificatePem, keyPem: serverKeyPem, clientCaPem };
}

function tokenOptionsOf(config: DataPlaneConfig): { key: Uint8Array; lifetimeS: number } {
  return {
    key: Buffer.from(config.secrets.authTokenKey, 'base64'),
    lifetimeS: config.snapshot.session.timeoutHours * 3_600,
  };
}

const DEFAULT_TIMERS: EngineTimers = {
  handWindowMs: 60_000,
  renegotiateMs: 3_600_000,
  pingMs: 10_000,
  pingRestartMs: 60_000,
  lingerMs: 5_000,
  retransmitMs: 2_000,
  transitionWindowMs: 3_600_000,
  clientRenewalPauseMs: 10_000,
};
const TUN_MTU_BYTES = 1_500;
const LOG_FLUSH_MS = 200;
