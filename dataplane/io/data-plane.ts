import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Connection } from '../../api/connection.ts';
import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import { parseIpv4Prefix } from '../../net/ipv4-prefix.ts';
import { TerminalError } from '../../net/errors.ts';
import { LocalProvider } from '../auth/local-provider.ts';
import { LoginAuthenticator } from '../auth/login-authenticator.ts';
import type { DataPlaneMessage, DataPlaneStart, EngineTimers } from '../process-messages.ts';
import { Engine } from '../sessions/engine.ts';
import { startAdminServer, type AdminServer } from './admin-server.ts';
import { ControlSocket, udpRemote } from './control-socket.ts';
import { Driver } from './driver.ts';
import { loadAddon } from './load-addon.ts';
import { LogSink } from './log-sink.ts';
import { createLogger } from './logger.ts';
import { SignedLoginTokens } from './login-tokens.ts';
import { Observers } from './observers.ts';
import { TlsEndpoint } from './tls-endpoint.ts';
import { TunnelHost } from './tunnel-host.ts';

export interface DataPlane {
  /** Takes a configuration and tells the supervisor when every thread enforces it, or why it is refused. */
  apply(config: DataPlaneConfig): Promise<void>;
  connections(): readonly Connection[];
  /** @returns whether an active connection had the id. */
  terminate(connectionId: string): boolean;
  stop(reason: string, limitMs: number): Promise<void>;
}

/** Starts to serve; resolves when clients can connect. @throws TerminalError naming what a person must change. */
export async function startDataPlane(
  start: DataPlaneStart,
  send: (message: DataPlaneMessage) => void,
): Promise<DataPlane> {
  const { descriptors } = start;
  const { snapshot } = start.config;
  const sink = new LogSink(process.stdout);
  const log = createLogger({ level: start.logLevel, sink, bindings: { endpoint: snapshot.endpoint.name } });
  const addon = loadAddon();
  const clientCidr = parseIpv4Prefix(snapshot.clientCIDR);
  if (clientCidr === undefined) throw new TerminalError(`clientCIDR "${snapshot.clientCIDR}" is no IPv4 network`);

  const tunnel = await TunnelHost.start({
    addon,
    transport: snapshot.transport,
    udpDescriptors: descriptors.udpTunnel,
    tcpDescriptors: descriptors.tcp,
    tunDescriptors: descriptors.tun,
    clientCidr,
    gatewayAddress: clientCidr.address + 1,
    tunMtu: TUN_MTU_BYTES,
  });

  const tokens = new SignedLoginTokens({ now: Date.now, ...tokenOptionsOf(start.config) });
  const local = new LocalProvider({
    now: Date.now,
    tokens,
    usedTotpSteps: start.memory.totpSteps,
    onTotpUsed: () => sendMemory(),
  });
  const authenticator = new LoginAuthenticator({ now: Date.now, local });
  authenticator.reconfigure(start.config);

  const tls = new TlsEndpoint({
    credentials: credentialsOf(start.config),
    deliver: (input) => driver.feed(input),
  });
  const engine = new Engine({
    config: start.config,
    timers: { ...DEFAULT_TIMERS, ...start.timers },
    threads: tunnel.threads,
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
    wallClock: Date.now,
    memory: start.memory,
    remoteFrom: (wire) => udpRemote(addon, wire),
    traffic: (peerId) => tunnel.traffic(peerId),
  });
  const control =
    descriptors.udpControl === null
      ? null
      : new ControlSocket({
          addon,
          fd: descriptors.udpControl,
          onDatagram: (remote, bytes) => driver.onDatagram(remote, bytes),
        });
  const observers = new Observers({ log, sink, engine, tunnel, config: start.config, local });
  const driver = new Driver({
    addon,
    engine,
    tunnel,
    tls,
    authenticator,
    control,
    onEvent: (event) => observers.onEvent(event),
    onLogin: (seconds) => observers.metrics.loginTook(seconds),
    onFault: (error, input) => observers.onFault(error, input),
  });

  let lastMemory = '';
  const sendMemory = (): void => {
    const memory = { leases: engine.leases(), totpSteps: local.usedTotpSteps() };
    const text = JSON.stringify(memory);
    if (text === lastMemory) return;
    lastMemory = text;
    send({ kind: 'memory', memory });
  };
  const memoryTimer = setInterval(sendMemory, MEMORY_INTERVAL_MS);

  let inForce = start.config;
  const apply = async (config: DataPlaneConfig): Promise<void> => {
    const { version, digest } = config.snapshot;
    const begun = performance.now();
    try {
      tls.setCredentials(credentialsOf(config));
      driver.configure(config);
    } catch (error) {
      tls.setCredentials(credentialsOf(inForce));
      const reason = error instanceof Error ? error.message : String(error);
      log.error({ version, reason }, 'Refused snapshot');
      send({ kind: 'rejected', version, digest, reason });
      return;
    }
    inForce = config;
    tokens.reconfigure(tokenOptionsOf(config));
    authenticator.reconfigure(config);
    observers.configure(config);
    await driver.enforced();
    log.info({ version, ms: Math.round(performance.now() - begun) }, 'Enforced snapshot');
    send({ kind: 'applied', version, digest });
  };

  let admin: AdminServer | undefined;
  let serving = false;
  if (start.metricsListen !== null) {
    admin = await startAdminServer({
      ...start.metricsListen,
      metrics: () => observers.metrics.exposition(),
      notReady: () => (serving ? null : 'the tunnel is not open'),
    });
    log.info({ host: start.metricsListen.host, port: admin.port }, 'Serving metrics');
  }
  await apply(start.config);
  serving = true;
  log.info(
    {
      targetNetwork: start.config.targetNetwork,
      transport: snapshot.transport,
      port: snapshot.port,
      threads: tunnel.threads,
    },
    'Started data plane',
  );

  return {
    apply,
    connections: () => driver.connections(),
    terminate: (connectionId) => {
      const found = driver
        .connections()
        .some((connection) => connection.connectionId === connectionId && connection.status === 'active');
      if (found) driver.feed({ kind: 'terminate', connectionId });
      return found;
    },
    stop: async (reason, limitMs) => {
      serving = false;
      log.info({ reason }, 'Stopping');
      clearInterval(memoryTimer);
      await driver.shutdown(limitMs);
      sendMemory();
      control?.close();
      await tunnel.stop();
      await admin?.close();
      observers.close();
      log.info('Stopped');
      await sink.flush(LOG_FLUSH_MS);
    },
  };
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
};
const TUN_MTU_BYTES = 1_500;
const MEMORY_INTERVAL_MS = 10_000;
const LOG_FLUSH_MS = 500;
