import { X509Certificate } from 'node:crypto';
import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import type { LocalProvider } from '../auth/local-provider.ts';
import type { LoginFault } from '../auth/login-fault.ts';
import { DEFAULT_LIMITS } from '../sessions/engine-options.ts';
import type { Engine } from '../sessions/engine.ts';
import type { ConnectionFacts, EngineEvent, Input } from '../sessions/engine-io.ts';
import { ConnectionLog } from './connection-log.ts';
import type { MemoryBound } from './memory-bounds.ts';
import type { LogSink } from './log-sink.ts';
import type { Logger } from './logger.ts';
import { Metrics } from './metrics.ts';
import { RateLimitedLog } from './rate-limited-log.ts';
import { DROP_NAMES, type DataDrop } from '../tunnel/drop-reason.ts';
import type { TunnelCounters } from './tunnel-counters.ts';
import type { TunnelHost } from './tunnel-host.ts';

export interface ObserverOptions {
  readonly log: Logger;
  readonly sink: LogSink;
  readonly engine: Pick<Engine, 'stats'>;
  readonly tunnel: Pick<TunnelHost, 'counters'>;
  readonly local: Pick<LocalProvider, 'knows' | 'waiting'>;
  /** Session openings that the control socket dropped unread. */
  readonly openingsRefused: () => number;
  /** Datagrams that found the control thread's queue full. */
  readonly queueDrops: () => number;
  readonly config: DataPlaneConfig;
}

/** Turns what the engine reports into log lines, the connection log and metrics. */
export class Observers {
  readonly metrics: Metrics;
  readonly #options: ObserverOptions;
  readonly #connectionLog: ConnectionLog;
  readonly #security: RateLimitedLog;
  #config: DataPlaneConfig;
  #isMemoryShort = false;
  #areManifestsRefused = false;

  constructor(options: ObserverOptions) {
    const { engine, tunnel, sink } = options;
    this.#options = options;
    this.#config = options.config;
    this.#connectionLog = new ConnectionLog({ write: (line) => sink.write(line), now: Date.now });
    this.#security = new RateLimitedLog(options.log, Date.now);
    const { snapshot, targetNetwork } = options.config;
    this.metrics = new Metrics(
      { endpoint: snapshot.endpoint.name, namespace: snapshot.endpoint.namespace, target_network: targetNetwork },
      {
        activeConnections: () => engine.stats().connected,
        traffic: () => tunnel.counters().traffic,
        drops: () => ({
          ...dataDrops(tunnel.counters().drops),
          'control-ring-full': tunnel.counters().controlRingFull,
          ...Object.fromEntries(engine.stats().drops),
          'opening-flood': options.openingsRefused(),
          'control-queue-full': options.queueDrops(),
        }),
        batches: () => tunnel.counters().batches,
        addressPool: () => {
          const { addressesUsed, addressesTotal } = engine.stats();
          return { used: addressesUsed, size: addressesTotal };
        },
        snapshot: () => {
          const { version, epoch, compiledAt } = this.#config.snapshot;
          return { version, epoch, compiledAt: Date.parse(compiledAt) };
        },
        serverCertificateEnds: () =>
          new X509Certificate(this.#config.secrets.serverCertificatePem).validToDate.getTime(),
        revocationListEnds: () => revocationListEnd(this.#config),
        history: () => {
          const { endedRemembered, failedRemembered } = engine.stats();
          return {
            ended: { kept: endedRemembered, limit: DEFAULT_LIMITS.endedConnections },
            failed: { kept: failedRemembered, limit: DEFAULT_LIMITS.failedConnections },
          };
        },
        loggingDropped: () => sink.dropped,
        strays: () => tunnel.counters().strays,
        acksSuperseded: () => tunnel.counters().acksSuperseded,
        isMemoryShort: () => this.#isMemoryShort,
        areManifestsRefused: () => this.#areManifestsRefused,
        passwordChecksWaiting: () => options.local.waiting,
        startsWaiting: () => engine.stats().waiting,
        now: Date.now,
      },
    );
    this.configure(options.config);
  }

  configure(config: DataPlaneConfig): void {
    this.#config = config;
    this.#connectionLog.configure({
      ...config.snapshot.connectionLogging,
      endpointId: config.snapshot.endpoint.id,
      userLogin: config.snapshot.authentication.identityProvider !== null,
    });
  }

  onEvent(event: EngineEvent): void {
    const { log } = this.#options;
    this.metrics.onEvent(event);
    this.#connectionLog.onEvent(event);
    switch (event.kind) {
      case 'connected':
        log.info({ ...whoIs(event.connection), transport: event.connection.transport }, 'Connected');
        log.debug({ connection: event.connection }, 'Connected client');
        return;
      case 'disconnected':
        log.info({ ...whoIs(event.connection), reason: event.reason }, 'Disconnected');
        return;
      case 'connectionAttemptChallenged':
        this.#security.info(this.#whoTried(event.connection), 'Challenged login');
        return;
      case 'connectionAttemptFailed':
        this.#security.info({ ...this.#whoTried(event.connection), reason: event.reason }, 'Refused login');
        return;
      case 'renewed':
        log.debug({ connectionId: event.connectionId, keyId: event.keyId }, 'Renewed keys');
        return;
      case 'floated':
        log.debug({ connectionId: event.connectionId, from: event.from, to: event.to }, 'Client moved');
        return;
      case 'certificateRefused':
        this.#security.warn({ remote: event.remote, reason: event.reason }, 'Refused certificate');
        return;
      case 'refused':
        this.#security.warn(
          { remote: event.remote, reason: event.reason, count: event.count },
          'Refused session start',
        );
        return;
      case 'handshakeFailed':
        this.#security.warn({ remote: event.remote, reason: event.reason }, 'Handshake failed');
        return;
      case 'drained':
        return;
    }
  }

  onMemory(short: MemoryBound | null): void {
    this.#isMemoryShort = short !== null;
    if (short === null) this.#security.warn({}, 'Memory suffices again');
    else this.#security.warn({ ...short }, 'Memory is short: newcomers wait until others have left');
  }

  onManifests(areRefused: boolean): void {
    this.#areManifestsRefused = areRefused;
  }

  onFault(error: unknown, input: Input['kind']): void {
    this.metrics.faulted(input);
    const stack = error instanceof Error ? error.stack : String(error);
    this.#security.error({ input, stack }, 'Engine fault');
  }

  onLoginFault({ name, message }: LoginFault): void {
    this.#security.error({ error: name, cause: message }, 'Login fault');
  }

  close(): void {
    this.metrics.close();
  }

  /**
   * Until a login succeeds its user name is whatever was typed, which may be a password: only the name of a user whom
   * there is goes into the log. Where certificates are asked for, one that does not verify leads to another event.
   */
  #whoTried(facts: ConnectionFacts): Readonly<Record<string, string | undefined>> {
    const { username, commonName } = facts;
    return whoIs({
      ...facts,
      username: this.#options.local.knows(username) ? username : '',
      commonName: this.#config.snapshot.authentication.mutual ? commonName : '',
    });
  }
}

/** As `clientvpn connections --output json` calls it; what is undefined is left out of the line. */
function whoIs({
  connectionId,
  username,
  commonName,
  remote,
}: ConnectionFacts): Readonly<Record<string, string | undefined>> {
  return { connectionId, username: username || undefined, commonName: commonName || undefined, remote };
}

function dataDrops(counts: TunnelCounters['drops']): Readonly<Partial<Record<DataDrop, number>>> {
  return Object.fromEntries(
    Object.entries(DROP_NAMES).map(([key, name]) => [name, counts[key as keyof typeof counts]]),
  );
}

/** The earliest end of the lists in force, ms since 1970. */
function revocationListEnd(config: DataPlaneConfig): number | null {
  const { revocation } = config.secrets;
  if (revocation.kind !== 'List') return null;
  const ends = revocation.lists.map((list) => list.nextUpdate).filter((end) => end !== null);
  return ends.length === 0 ? null : Math.min(...ends);
}
