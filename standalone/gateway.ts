import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { EngineTimers, LogLevel } from '../dataplane/process-messages.ts';
import type { Logger } from '../dataplane/io/logger.ts';
import type { NativeAddon } from '../dataplane/io/native-addon.ts';
import { NetSetup, removeTun } from '../dataplane/net-setup/net-setup.ts';
import { InternalError, TerminalError } from '../net/errors.ts';
import { parseIpv4Prefix } from '../net/ipv4-prefix.ts';
import type { Quotas } from '../operator/endpoint/checks/quotas.ts';
import { AutoPki } from './auto-pki.ts';
import { loadValidator } from './check-manifests.ts';
import { CLIENT_CONFIG_FILE, storeClientConfigSource } from './client-config-source.ts';
import type { CommandAnswer, CommandRequest } from './command-protocol.ts';
import { CommandServer } from './command-server.ts';
import { DataPlaneSupervisor } from './data-plane-supervisor.ts';
import { Enclosure } from './enclosure.ts';
import { formatFinding, type Finding } from './findings.ts';
import { readGatewaySet, type GatewaySetOptions, type ServedSet } from './gateway-set.ts';
import type { GatewayStatus } from './gateway-status.ts';
import type { LogOutput } from './log-output.ts';
import { ManifestWatch } from './manifest-watch.ts';
import {
  closeSockets,
  openSockets,
  openTunQueues,
  tunnelThreads,
  type ListenOptions,
  type OpenSockets,
} from './open-descriptors.ts';
import { NetworkWatch } from './network-watch.ts';
import { PersistedMemory } from './persisted-memory.ts';
import { recoverLastRun } from './recovery.ts';
import { RUN_RECORD_FILE, RunRecorder } from './run-record.ts';
import type { StateFolder } from './state-folder.ts';
import { StateWrites } from './state-writes.ts';
import { StatusReader } from './status-reader.ts';

export interface GatewayOptions {
  readonly manifests: readonly string[];
  readonly targetNetwork: string | undefined;
  readonly autoPki: boolean;
  readonly quotas: Quotas;
  readonly metricsListen: { readonly host: string; readonly port: number } | null;
  readonly logLevel: LogLevel;
  /** Values other than production's, so that tests need not wait an hour for a renewal. */
  readonly timersForTest?: Partial<EngineTimers>;
}

/** What a gateway needs of the process it runs in. */
export interface GatewayParts {
  readonly folder: StateFolder;
  readonly addon: NativeAddon;
  readonly log: Logger;
  /** For a data plane's log lines. */
  readonly output: LogOutput['lend'];
  /** The data plane can't be kept running. */
  readonly onGivenUp: (reason: string) => void;
}

/** A start refused because of what the manifests say. */
export class ManifestsRefused extends TerminalError {
  readonly findings: readonly Finding[];
  constructor(findings: readonly Finding[]) {
    super('The manifests are refused');
    this.findings = findings;
  }
}

/** One gateway on this machine: from manifests to a running data plane, and all of it undone again. */
export class Gateway {
  readonly #options: GatewayOptions;
  readonly #parts: GatewayParts;
  readonly #enclosure: Enclosure;
  readonly #recorder: RunRecorder;
  readonly #writes: StateWrites;
  readonly #undo: (() => Promise<void> | void)[] = [];
  #setOptions: GatewaySetOptions | undefined;
  #running: Running | undefined;
  readonly #status = new StatusReader();
  #refused: GatewayStatus['refused'] = null;
  #watch: ManifestWatch | undefined;
  #network: NetworkWatch | undefined;
  #isReady = false;
  /** Of a certificate, as `performance.now` has it. */
  #nextRenewalMs = 0;
  /** Files changed while the first set was being set up. */
  #missedEdit = false;
  #stopping = false;
  #starting: Promise<void> | undefined;

  constructor(options: GatewayOptions, parts: GatewayParts) {
    this.#options = options;
    this.#parts = parts;
    this.#enclosure = new Enclosure(parts.addon);
    this.#recorder = new RunRecorder(parts.folder);
    this.#writes = new StateWrites(parts.log);
  }

  /** @throws ManifestsRefused, TerminalError; `stop` is due in either case */
  start(): Promise<void> {
    this.#starting = this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    const { folder, log } = this.#parts;
    const recovered = await recoverLastRun(folder);
    if (recovered !== null) log.info({ recovered }, 'Cleaned up after the run before');
    this.#setOptions = await this.#prepareSetOptions();
    const watch = new ManifestWatch({
      paths: this.#options.manifests,
      onChange: () => this.#reload(),
      isDue: () => this.#isRenewalDue(),
    });
    this.#watch = watch;
    await watch.start();
    const set = await this.#readFirstSet(this.#setOptions);
    await this.#bringUp(set);
    this.#refuseWhenStopping();
    const commands = await CommandServer.listen(folder, (request) => this.#answer(request));
    this.#undo.push(() => commands.close());
    const { endpoint, transport, port } = set.config.snapshot;
    const ready = { endpoint: endpoint.name, targetNetwork: set.config.targetNetwork, transport, port };
    if (!this.#enclosure.isPossible) log.info('The data plane shares the process namespace, for want of CAP_SYS_ADMIN');
    log.info({ ...ready, version: set.config.snapshot.version }, 'Ready');
    this.#isReady = true;
    if (this.#missedEdit) watch.look('forget');
  }

  /** Reads the manifests again even if they have not changed. */
  reload(): void {
    this.#watch?.look('forget');
  }

  /** Says goodbye to the clients and undoes everything, whatever `start` came to. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const watchClosed = this.#watch?.close();
    // First: an edit that is under way may be waiting for the data plane.
    await this.#running?.supervisor?.shutdown();
    await watchClosed;
    // A start that is under way ends at its next step; its error is the caller's of `start`.
    await this.#starting?.catch(() => undefined);
    for (const step of this.#undo.splice(0).toReversed()) {
      try {
        await step();
      } catch (error) {
        this.#parts.log.error({ cause: messageOf(error) }, 'A step of the clean-up failed');
      }
    }
  }

  async #prepareSetOptions(): Promise<GatewaySetOptions> {
    const { manifests, targetNetwork, quotas, autoPki } = this.#options;
    const { folder } = this.#parts;
    return {
      paths: manifests,
      targetNetwork,
      quotas,
      autoPki: autoPki ? new AutoPki(folder, () => new Date()) : null,
      madeSecrets: new Map(),
      authTokenKey: keptKey(folder),
      validator: await loadValidator(),
      epoch: Math.floor(Date.now() / 1_000),
    };
  }

  async #readFirstSet(options: GatewaySetOptions): Promise<ServedSet> {
    const { set, findings } = await readGatewaySet(options, null, Date.now());
    if (set === null) throw new ManifestsRefused(findings);
    this.#warn(set.warnings);
    return set;
  }

  async #bringUp(set: ServedSet): Promise<void> {
    const { folder, addon, log } = this.#parts;
    const { transport, port, clientCIDR } = set.config.snapshot;
    const clientCidr = parseIpv4Prefix(clientCIDR);
    if (clientCidr === undefined) throw new InternalError(`The client CIDR ${clientCIDR} passed validation`);
    const listen = { transport, port, threads: tunnelThreads(availableParallelism()) };

    this.#refuseWhenStopping();
    const sockets = await openSockets(addon, listen);
    this.#undo.push(() => closeSockets(addon, this.#running?.sockets ?? sockets));
    const net = await NetSetup.begin({
      stateFolderRealPath: folder.path,
      clientCidr,
      store: (network) => this.#recorder.set({ network }),
    });
    const memory = new PersistedMemory(folder, this.#writes, clientCidr, (reason) =>
      log.warn({ cause: reason }, 'Sticky addresses or used one-time codes could not be read'),
    );
    const running = new Running(set, net, memory, sockets, listen);
    this.#running = running;
    this.#undo.push(async () => {
      await net.undo();
      // Not where that failed: the next start has the record to go by.
      this.#recorder.clear();
    });
    this.#undo.push(() => running.closeTun(addon));
    running.openTun(addon);
    await net.apply();
    for (const shortcoming of net.shortcomings) log.warn({ shortcoming }, 'Clients are served, but');
    this.#refuseWhenStopping();
    this.#undo.push(() => this.#writes.close());
    this.#undo.push(() => memory.flush());
    this.#undo.push(() => running.supervisor?.shutdown());
    await this.#startDataPlane(running);
    const network = new NetworkWatch({ addon, net, log, onTunGone: () => this.#replaceTun(running) });
    this.#undo.push(() => network.close());
    this.#network = network;
    await network.start();
    this.#keepClientConfig(set);
  }

  async #startDataPlane(running: Running): Promise<void> {
    const { log, output, onGivenUp } = this.#parts;
    const { logLevel, metricsListen, timersForTest } = this.#options;
    const { net, set, memory } = running;
    const supervisor = new DataPlaneSupervisor({
      enclosure: this.#enclosure,
      descriptors: () => ({ ...running.sockets, tun: running.tun }),
      renewDescriptors: () => this.#renewDescriptors(running),
      config: set.config,
      memory: () => memory.current,
      areManifestsRefused: () => this.#refused !== null,
      start: { tunName: net.plan.tun, metricsListen, logLevel, timers: timersForTest ?? {} },
      output,
      onLeases: (leases) => memory.keepLeases(leases),
      onCodesUsed: (totpSteps) => memory.keepCodes(totpSteps),
      onProcess: (dataPlane) => this.#writes.attempt(RUN_RECORD_FILE, () => this.#recorder.set({ dataPlane })),
      onDown: ({ reason, nextTryMs }) =>
        log.error({ cause: reason, nextTryMs }, 'The data plane ended and will be restarted'),
      onUp: () => this.#isReady && log.info('The data plane is back'),
      onGivenUp,
    });
    running.supervisor = supervisor;
    await supervisor.start();
  }

  #refuseWhenStopping(): void {
    if (this.#stopping) throw new TerminalError('The gateway was stopped before it was ready');
  }

  /** Its descriptors are dead for good, so the data plane starts anew with others. */
  async #replaceTun(running: Running): Promise<void> {
    // Between two data planes it may not be there yet, or be made again already.
    if (running.tun.length > 0 && running.net.isTunGone()) await running.supervisor?.restart();
  }

  async #renewDescriptors(running: Running): Promise<void> {
    const { addon, log } = this.#parts;
    // Said here: a data plane notices too, and may be the first.
    if (running.tun.length > 0 && running.net.isTunGone())
      log.error({ tun: running.net.plan.tun }, 'The TUN device was removed; making it again');
    await running.renewDescriptors(addon);
  }

  async #reload(): Promise<void> {
    const running = this.#running;
    if (!this.#isReady) this.#missedEdit = true;
    if (!this.#isReady || running === undefined || this.#setOptions === undefined || this.#stopping) return;
    const startedAt = performance.now();
    try {
      const { set, findings } = await readGatewaySet(this.#setOptions, running.set, Date.now());
      if (set === null) this.#refuse(findings.map(formatFinding));
      else await this.#apply(running, set, startedAt);
    } catch (error) {
      // The files as they are can't be judged now; the state that holds is not touched.
      this.#refuse([messageOf(error)]);
    }
  }

  async #apply(running: Running, set: ServedSet, startedAt: number): Promise<void> {
    const { log } = this.#parts;
    const { version } = set.config.snapshot;
    // A description, say, is nothing to the data plane.
    const isNews = JSON.stringify(set.config) !== JSON.stringify(running.set.config);
    if (isNews) log.debug({ version }, 'Read an edit that is valid');
    const outcome = isNews ? await running.supervisor?.apply(set.config) : ({ kind: 'applied' } as const);
    if (outcome?.kind === 'rejected') return this.#refuse([`the data plane refused it: ${outcome.reason}`]);
    this.#judged(null);
    const milliseconds = Math.round(performance.now() - startedAt);
    if (outcome?.kind === 'applied') log.info({ version, milliseconds }, 'Applied');
    else log.warn({ version, milliseconds }, 'The data plane has not confirmed the edit yet');
    running.set = set;
    this.#warn(set.warnings);
    this.#keepClientConfig(set);
  }

  #isRenewalDue(): boolean {
    if (!this.#isReady || Date.now() < (this.#running?.set.renewsAt ?? Number.POSITIVE_INFINITY)) return false;
    if (performance.now() < this.#nextRenewalMs) return false;
    this.#nextRenewalMs = performance.now() + RENEWAL_RETRY_MS;
    return true;
  }

  #refuse(findings: readonly string[]): void {
    this.#judged({ time: new Date().toISOString(), findings });
    this.#parts.log.error({ findings }, 'Refused the edited manifests; the last good state holds');
  }

  #judged(refused: GatewayStatus['refused']): void {
    this.#refused = refused;
    this.#running?.supervisor?.manifestsJudged();
  }

  #warn(findings: readonly Finding[]): void {
    for (const finding of findings)
      this.#parts.log.warn({ finding: formatFinding(finding) }, 'Manifests are valid, but');
  }

  #keepClientConfig(set: ServedSet): void {
    this.#writes.attempt(CLIENT_CONFIG_FILE, () => storeClientConfigSource(this.#parts.folder, set.clientConfig));
  }

  async #readStatus(set: ServedSet, supervisor: DataPlaneSupervisor): Promise<GatewayStatus> {
    const status = await this.#status.read(set, supervisor, this.#refused);
    const { trouble } = this.#writes;
    const unwritten = trouble === null ? [] : [`the state folder could not be written: ${trouble}`];
    const { shortcomings = [] } = this.#running?.net ?? {};
    const obstacles = this.#network?.obstacles ?? [];
    return { ...status, warnings: [...status.warnings, ...unwritten, ...shortcomings, ...obstacles] };
  }

  async #answer(request: CommandRequest): Promise<CommandAnswer> {
    const running = this.#running;
    if (running?.supervisor === undefined) throw new TerminalError('The gateway is starting');
    const { supervisor } = running;
    switch (request.command) {
      case 'status':
        return { kind: 'status', status: await this.#readStatus(running.set, supervisor) };
      case 'connections':
        return { kind: 'connections', connections: await supervisor.connections() };
      case 'terminate':
        return { kind: 'terminated', found: await supervisor.terminate(request.connectionId) };
    }
  }
}

/** What exists while a gateway runs. */
class Running {
  set: ServedSet;
  supervisor: DataPlaneSupervisor | undefined;
  tun: readonly number[] = [];
  readonly net: NetSetup;
  readonly memory: PersistedMemory;
  sockets: OpenSockets;
  readonly #listen: ListenOptions;
  #isTunOurs = false;

  constructor(set: ServedSet, net: NetSetup, memory: PersistedMemory, sockets: OpenSockets, listen: ListenOptions) {
    this.set = set;
    this.net = net;
    this.memory = memory;
    this.sockets = sockets;
    this.#listen = listen;
  }

  openTun(addon: NativeAddon): void {
    this.tun = openTunQueues(addon, this.net.plan.tun, this.#listen.threads);
    this.#isTunOurs = true;
  }

  async closeTun(addon: NativeAddon): Promise<void> {
    for (const fd of this.tun) addon.close(fd);
    this.tun = [];
    if (this.#isTunOurs) await removeTun(this.net.plan.tun);
    this.#isTunOurs = false;
  }

  /** Filters, owners, flags: what a data plane set there would hold for the next one too. */
  async renewDescriptors(addon: NativeAddon): Promise<void> {
    await this.net.apply(async () => {
      closeSockets(addon, this.sockets);
      this.sockets = NO_SOCKETS;
      await this.closeTun(addon);
      this.sockets = await openSockets(addon, this.#listen);
      this.openTun(addon);
    });
  }
}

/** Signs login tokens; kept, so that after a restart nobody is asked for a code again. */
function keptKey(folder: StateFolder): string {
  const kept = folder.read(KEY_FILE)?.trim();
  if (kept !== undefined && Buffer.from(kept, 'base64').length === KEY_BYTES) return kept;
  const key = randomBytes(KEY_BYTES).toString('base64');
  folder.write(KEY_FILE, `${key}\n`);
  return key;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const NO_SOCKETS: OpenSockets = { udpTunnel: [], udpControl: null, tcp: [] };
const KEY_FILE = 'auth-token.key';
const KEY_BYTES = 32;
/** While the manifests are refused or the state folder is full. */
const RENEWAL_RETRY_MS = 3_600_000;
