import { monitorEventLoopDelay } from 'node:perf_hooks';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { EngineEvent, Input } from '../sessions/engine-io.ts';
import type { EngineDrop } from '../sessions/reasons.ts';
import type { DataDrop } from '../tunnel/drop-reason.ts';

/** Why packets were dropped before anybody looked at them: a queue between threads was full. */
export const QUEUE_DROPS = ['control-queue-full', 'control-ring-full', 'opening-flood'] as const;
export type PacketDrop = DataDrop | EngineDrop | (typeof QUEUE_DROPS)[number];

/** Read when somebody asks. Totals only ever grow while the process lives. */
export interface MetricSources {
  readonly activeConnections: () => number;
  /** Inner traffic of all connections so far, ended ones included. */
  readonly traffic: () => Readonly<Record<'ingressBytes' | 'egressBytes' | 'ingressPackets' | 'egressPackets', number>>;
  /** Packets dropped so far. */
  readonly drops: () => Readonly<Partial<Record<PacketDrop, number>>>;
  /** By stage (`udpReceive`, `tunRead`, `seal` …): how often it ran and over how many packets in all. */
  readonly batches: () => Readonly<Record<string, { readonly runs: number; readonly packets: number }>>;
  readonly addressPool: () => { readonly used: number; readonly size: number };
  /** `compiledAt` in milliseconds since 1970. */
  readonly snapshot: () => { readonly version: number; readonly epoch: number; readonly compiledAt: number };
  /** Milliseconds since 1970 when the server's certificate ends. */
  readonly serverCertificateEnds: () => number;
  /** Milliseconds since 1970 when the revocation list ends; null without one. */
  readonly revocationListEnds: () => number | null;
  /** Ended and failed connections still listed, and how many of each are kept at most. */
  readonly history: () => Readonly<Record<'ended' | 'failed', { readonly kept: number; readonly limit: number }>>;
  readonly loggingDropped: () => number;
  /** Packets that reached another tunnel thread than their client's. */
  readonly strays: () => number;
  readonly acksSuperseded: () => number;
  readonly isMemoryShort: () => boolean;
  readonly areManifestsRefused: () => boolean;
  readonly passwordChecksWaiting: () => number;
  readonly startsWaiting: () => number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export interface MetricLabels {
  readonly endpoint: string;
  readonly namespace: string;
  readonly target_network: string;
}

/** The Prometheus metrics of one data plane. Never labelled by connection, user or address. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #lag = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  readonly #connections: Counter<'outcome'>;
  readonly #authenticationFailures: Counter<'reason'>;
  readonly #turnedAway: Counter<'reason'>;
  readonly #certificatesRefused: Counter<'reason'>;
  readonly #refused: Counter<'reason'>;
  readonly #handshakesFailed: Counter<'reason'>;
  readonly #ended: Counter<'reason'>;
  readonly #renewals: Counter;
  readonly #floats: Counter;
  readonly #faults: Counter<'input'>;
  readonly #loginDuration: Histogram;

  constructor(labels: MetricLabels, sources: MetricSources) {
    this.#registry.setDefaultLabels({ ...labels });
    this.#lag.enable();
    const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> =>
      new Counter({ name: `clientvpn_${name}`, help, labelNames: [...labelNames], registers: [this.#registry] });
    this.#connections = counter(
      'connection_attempts_total',
      'Connection attempts: successful, failed, or challenged to come back with an answer',
      ['outcome'],
    );
    this.#authenticationFailures = counter('authentication_failures_total', 'Logins refused, but for a lack of room', [
      'reason',
    ]);
    this.#turnedAway = counter('logins_turned_away_total', 'Logins for which there was no room', ['reason']);
    this.#certificatesRefused = counter('certificates_refused_total', 'Client certificates refused', ['reason']);
    this.#refused = counter('session_starts_refused_total', 'Session starts refused before a login', ['reason']);
    this.#handshakesFailed = counter('handshakes_failed_total', 'TLS handshakes and key exchanges failed', ['reason']);
    this.#ended = counter('connections_ended_total', 'Connections ended', ['reason']);
    this.#renewals = counter('key_renewals_total', 'Data keys renewed', []);
    this.#floats = counter('floats_total', 'Clients that moved to another address', []);
    this.#faults = counter('engine_faults_total', 'Inputs or outputs of the engine dropped by a bug', ['input']);
    this.#loginDuration = new Histogram({
      name: 'clientvpn_login_duration_seconds',
      help: 'From the request for a login to its answer',
      buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
      registers: [this.#registry],
    });
    this.#registerGauges(sources);
    this.#registerTotals(sources);
    // Of prom-client's own lag, what is measured when it is read: the rest wakes the thread 100 times a second.
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: HOUR_MS });
    for (const statistic of ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'])
      this.#registry.removeSingleMetric(`nodejs_eventloop_lag_${statistic}_seconds`);
  }

  onEvent(event: EngineEvent): void {
    switch (event.kind) {
      case 'connected':
        this.#connections.inc({ outcome: 'successful' });
        return;
      case 'connectionAttemptChallenged':
        this.#connections.inc({ outcome: 'challenged' });
        return;
      case 'connectionAttemptFailed':
        this.#connections.inc({ outcome: 'failed' });
        if (event.isTemporary) this.#turnedAway.inc({ reason: event.reason });
        else this.#authenticationFailures.inc({ reason: event.reason });
        return;
      case 'disconnected':
        this.#ended.inc({ reason: event.reason });
        return;
      case 'renewed':
        this.#renewals.inc();
        return;
      case 'floated':
        this.#floats.inc();
        return;
      case 'certificateRefused':
        this.#certificatesRefused.inc({ reason: event.reason });
        return;
      case 'refused':
        this.#refused.inc({ reason: event.reason }, event.count);
        return;
      case 'handshakeFailed':
        this.#handshakesFailed.inc({ reason: event.reason });
        return;
      case 'drained':
        return;
    }
  }

  loginTook(seconds: number): void {
    this.#loginDuration.observe(seconds);
  }

  faulted(input: Input['kind']): void {
    this.#faults.inc({ input: kebabCase(input) });
  }

  async exposition(): Promise<{ readonly text: string; readonly contentType: string }> {
    return { text: await this.#registry.metrics(), contentType: this.#registry.contentType };
  }

  close(): void {
    this.#lag.disable();
    this.#registry.clear();
  }

  #registerGauges(sources: MetricSources): void {
    const registers = [this.#registry];
    const gauge = (name: string, help: string, read: () => number | null): void => {
      void new Gauge({
        name: `clientvpn_${name}`,
        help,
        registers,
        collect() {
          const value = read();
          if (value === null) this.remove();
          else this.set(value);
        },
      });
    };
    gauge('active_connections', 'Connections now', sources.activeConnections);
    gauge('address_pool_used', 'Client addresses in use', () => sources.addressPool().used);
    gauge('address_pool_size', 'Client addresses there are', () => sources.addressPool().size);
    gauge('snapshot_version', 'Version of the snapshot in force', () => sources.snapshot().version);
    gauge('snapshot_epoch', 'Epoch of the snapshot in force', () => sources.snapshot().epoch);
    gauge('snapshot_age_seconds', 'Since the snapshot in force was compiled', () =>
      Math.max(0, (sources.now() - sources.snapshot().compiledAt) / 1000),
    );
    gauge('memory_short', '1 while sessions are held to fewer for want of memory', () =>
      sources.isMemoryShort() ? 1 : 0,
    );
    gauge('manifests_refused', '1 while the manifests as they are now are refused and older ones hold', () =>
      sources.areManifestsRefused() ? 1 : 0,
    );
    gauge('password_checks_waiting', 'Logins that wait for their password check', sources.passwordChecksWaiting);
    gauge('session_starts_waiting', 'Clients that wait until others have logged in', sources.startsWaiting);
    const daysUntil = (ms: number): number => (ms - sources.now()) / DAY_MS;
    gauge('server_certificate_days_to_expiry', "Days until the server's certificate ends", () =>
      daysUntil(sources.serverCertificateEnds()),
    );
    gauge('crl_days_to_expiry', 'Days until the revocation list ends; absent without one', () => {
      const ends = sources.revocationListEnds();
      return ends === null ? null : daysUntil(ends);
    });
    const lag = this.#lag;
    void new Gauge({
      name: 'clientvpn_event_loop_lag_seconds',
      help: 'Lag of the control thread since the last reading',
      labelNames: ['quantile'],
      registers,
      collect() {
        for (const percentile of [50, 99, 100]) {
          const nanoseconds = lag.count === 0 ? 0 : lag.percentile(percentile);
          // The histogram holds the time between its timer's turns, of which the resolution was asked for.
          this.set({ quantile: String(percentile / 100) }, Math.max(0, nanoseconds / 1e9 - LAG_RESOLUTION_MS / 1e3));
        }
        lag.reset();
      },
    });
    void new Gauge({
      name: 'clientvpn_connection_history',
      help: 'Ended and failed connections still listed, and the limit of each',
      labelNames: ['state', 'bound'],
      registers,
      collect() {
        for (const [state, { kept, limit }] of Object.entries(sources.history())) {
          this.set({ state, bound: 'kept' }, kept);
          this.set({ state, bound: 'limit' }, limit);
        }
      },
    });
  }

  #registerTotals(sources: MetricSources): void {
    const total = (
      name: string,
      help: string,
      label: string | null,
      read: () => Iterable<readonly [string, number]>,
    ): void => {
      void new Counter({
        name: `clientvpn_${name}`,
        help,
        labelNames: label === null ? [] : [label],
        registers: [this.#registry],
        collect() {
          // The total is kept elsewhere, in memory that tunnel threads count in: it replaces the last one.
          this.reset();
          for (const [value, count] of read()) {
            if (label === null) this.inc(count);
            else this.inc({ [label]: value }, count);
          }
        },
      });
    };
    const one = (count: number): Iterable<readonly [string, number]> => [['', count]];
    total('ingress_bytes_total', 'Bytes from clients', null, () => one(sources.traffic().ingressBytes));
    total('egress_bytes_total', 'Bytes to clients', null, () => one(sources.traffic().egressBytes));
    total('ingress_packets_total', 'Packets from clients', null, () => one(sources.traffic().ingressPackets));
    total('egress_packets_total', 'Packets to clients', null, () => one(sources.traffic().egressPackets));
    total('drops_total', 'Packets dropped: of clients, for them, and of strangers', 'reason', () =>
      Object.entries(sources.drops()),
    );
    total('batch_runs_total', 'Batches processed', 'stage', () =>
      Object.entries(sources.batches()).map(([stage, { runs }]) => [kebabCase(stage), runs]),
    );
    total('batch_packets_total', 'Packets in the batches processed', 'stage', () =>
      Object.entries(sources.batches()).map(([stage, { packets }]) => [kebabCase(stage), packets]),
    );
    total('stray_packets_total', 'Packets passed on to the tunnel thread of their client', null, () =>
      one(sources.strays()),
    );
    total('acks_superseded_total', 'Acknowledgements not written, as a later one of their batch says more', null, () =>
      one(sources.acksSuperseded()),
    );
    total('log_lines_dropped_total', 'Log lines of the data plane lost to a slow reader or a full disk', null, () =>
      one(sources.loggingDropped()),
    );
  }
}

function kebabCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Each turn of the timer wakes the thread, which costs more than what is measured: a stall shorter than this may be missed. */
const LAG_RESOLUTION_MS = 250;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
