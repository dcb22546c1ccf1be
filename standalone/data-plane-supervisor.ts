import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from '../api/connection.ts';
import type { DataPlaneConfig } from '../api/data-plane-config.ts';
import type { DataPlaneDescriptors, DataPlaneMemory, DataPlaneStart } from '../dataplane/process-messages.ts';
import { TerminalError, TransientError } from '../net/errors.ts';
import { DataPlaneProcess, type DataPlaneNotice } from './data-plane-process.ts';
import type { Enclosure } from './enclosure.ts';
import type { LogOutput } from './log-output.ts';
import type { ProcessIdentity } from './process-identity.ts';

export interface SupervisorOptions {
  readonly enclosure: Enclosure;
  /** What the next data plane is given. */
  readonly descriptors: () => DataPlaneDescriptors;
  /** Closes them and opens others: what a data plane did to those it had holds for whoever has them. */
  readonly renewDescriptors: () => Promise<void>;
  readonly config: DataPlaneConfig;
  readonly memory: () => DataPlaneMemory;
  readonly areManifestsRefused: () => boolean;
  readonly start: Pick<DataPlaneStart, 'tunName' | 'metricsListen' | 'logLevel' | 'timers'>;
  /** For the log lines of one data plane. */
  readonly output: LogOutput['lend'];
  readonly onLeases: (leases: DataPlaneMemory['leases']) => void;
  /** Resolves when they are kept. */
  readonly onCodesUsed: (totpSteps: DataPlaneMemory['totpSteps']) => Promise<void>;
  /** Called before anything is sent to a new process; null when it has ended. */
  readonly onProcess: (identity: ProcessIdentity | null) => void;
  readonly onDown: (event: { readonly reason: string; readonly nextTryMs: number }) => void;
  readonly onUp: () => void;
  /** Restarting is of no use any more. */
  readonly onGivenUp: (reason: string) => void;
}

export type ApplyOutcome =
  | { readonly kind: 'applied' }
  | { readonly kind: 'rejected'; readonly reason: string }
  /** No answer in time; it is what the data plane will be started with if it has to be restarted. */
  | { readonly kind: 'pending' };

interface Waiting {
  readonly version: number;
  readonly resolve: (outcome: ApplyOutcome) => void;
}

/** Keeps a data plane running with the latest configuration, each on descriptors that none has had before. */
export class DataPlaneSupervisor {
  readonly #options: SupervisorOptions;
  readonly #stop = new AbortController();
  #config: DataPlaneConfig;
  #process: DataPlaneProcess | undefined;
  /** Ends because it was asked to, for another one to begin. */
  #replaced: DataPlaneProcess | undefined;
  #waiting: Waiting[] = [];
  #enforcedDigest: string | null = null;
  #failuresInARow = 0;
  #areDescriptorsUsed = false;
  #wasReady = false;
  #running: Promise<void> | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#config = options.config;
  }

  /** Digest of what all tunnel threads enforce; null while none runs. */
  get enforcedDigest(): string | null {
    return this.#enforcedDigest;
  }

  /** Ends when clients can connect. @throws TerminalError why the data plane could not start */
  async start(): Promise<void> {
    const up = Promise.withResolvers<void>();
    this.#running = this.#run(up);
    // A fault of ours: the caller's at the start, nobody's later on.
    this.#running.catch((error: unknown) => {
      if (this.#wasReady) throw error;
      up.reject(error);
    });
    await up.promise;
  }

  /** Sends a configuration and waits until it is enforced or refused. */
  async apply(config: DataPlaneConfig): Promise<ApplyOutcome> {
    const before = this.#config;
    this.#config = config;
    const answered = new Promise<ApplyOutcome>((resolve) => {
      this.#waiting.push({ version: config.snapshot.version, resolve });
    });
    this.#process?.apply(config);
    const late = delay(APPLY_LIMIT_MS, undefined, { ref: false, signal: this.#stop.signal });
    const pending = late.catch(() => undefined).then(() => ({ kind: 'pending' }) as const);
    const outcome = await Promise.race([answered, pending]);
    this.#waiting = this.#waiting.filter((waiting) => waiting.version > config.snapshot.version);
    if (outcome.kind === 'rejected') this.#config = before;
    return outcome;
  }

  /** Passes on what `areManifestsRefused` says now; a process that is starting hears of it when it is ready. */
  manifestsJudged(): void {
    this.#process?.manifestsJudged(this.#options.areManifestsRefused());
  }

  async connections(): Promise<readonly Connection[]> {
    return this.#alive().connections();
  }

  async terminate(connectionId: string): Promise<boolean> {
    return this.#alive().terminate(connectionId);
  }

  /**
   * Says goodbye to the clients and starts a data plane on other descriptors; what fails is tried again as after a crash.
   * Ends with the one that runs.
   */
  async restart(): Promise<void> {
    // Between two data planes, too: what was opened for the next one is of no use.
    this.#areDescriptorsUsed = true;
    this.#replaced = this.#process;
    await this.#process?.shutdown();
  }

  /** Says goodbye to the clients and ends the data plane for good; whoever waits for it is answered. */
  async shutdown(): Promise<void> {
    this.#stop.abort();
    await this.#process?.shutdown();
    await this.#running?.catch(() => undefined);
  }

  async #run(firstUp: PromiseWithResolvers<void>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const unopened = await this.#renewDescriptors();
      if (this.#stop.signal.aborted) break;
      if (unopened !== null) this.#failuresInARow += 1;
      const reason = unopened ?? (await this.#runOnce(firstUp));
      if (this.#stop.signal.aborted) break;
      if (reason === null) continue;
      if (!this.#wasReady) {
        firstUp.reject(new TerminalError(`The data plane could not start: ${reason}`));
        return;
      }
      if (this.#failuresInARow >= MAX_FAILURES_IN_A_ROW) {
        this.#options.onGivenUp(reason);
        return;
      }
      const nextTryMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.max(0, this.#failuresInARow - 1));
      this.#options.onDown({ reason, nextTryMs });
      // At once, lest somebody else take the port meanwhile. What fails is tried again and told with the next start.
      if (unopened === null) await this.#renewDescriptors();
      await delay(nextTryMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
    firstUp.reject(new TerminalError('The gateway was stopped before it was ready'));
    firstUp.promise.catch(() => undefined);
  }

  /** @returns why the next data plane can't be given any; null when it can. */
  async #renewDescriptors(): Promise<string | null> {
    if (!this.#areDescriptorsUsed) return null;
    // Before: a restart may be asked for before this goes on.
    this.#areDescriptorsUsed = false;
    try {
      await this.#options.renewDescriptors();
    } catch (error) {
      this.#areDescriptorsUsed = true;
      const reason = error instanceof Error ? error.message : String(error);
      return `sockets and TUN device could not be opened anew: ${reason}`;
    }
    return null;
  }

  /** @returns why it ended; null when another one was asked for. Only a long run starts the count of failures anew. */
  async #runOnce(firstUp: PromiseWithResolvers<void>): Promise<string | null> {
    let failure: string | undefined;
    let wasReady = false;
    const onNotice = (notice: DataPlaneNotice): void => {
      switch (notice.kind) {
        case 'ready':
          wasReady = true;
          // An edit that came while it was starting: until now it took none.
          if (this.#config !== startedWith) this.#process?.apply(this.#config);
          this.manifestsJudged();
          firstUp.resolve();
          return this.#options.onUp();
        case 'failed':
          failure = notice.reason;
          return;
        case 'leases':
          return this.#options.onLeases(notice.leases);
        case 'codesUsed':
          // Its successor numbers its own from 1.
          void this.#options.onCodesUsed(notice.totpSteps).then(() => process.codesKept(notice.sequence));
          return;
        case 'applied':
          this.#enforcedDigest = notice.digest;
          return this.#settle(notice.version, { kind: 'applied' });
        case 'rejected':
          return this.#settle(notice.version, { kind: 'rejected', reason: notice.reason });
      }
    };
    const startedWith = this.#config;
    const startedAt = performance.now();
    this.#areDescriptorsUsed = true;
    const process = new DataPlaneProcess({
      enclosure: this.#options.enclosure,
      descriptors: this.#options.descriptors(),
      output: this.#options.output(),
      start: { ...this.#options.start, config: startedWith, memory: this.#options.memory() },
      onNotice,
    });
    this.#process = process;
    this.#options.onProcess(process.identity ?? null);
    const { code, signal, error } = await process.exited;
    this.#process = undefined;
    this.#enforcedDigest = null;
    this.#options.onProcess(null);
    const ranLong = performance.now() - startedAt > LONG_RUN_MS;
    const isReplaced = this.#replaced === process;
    if (wasReady && ranLong) this.#failuresInARow = 0;
    else if (!isReplaced) this.#failuresInARow += 1;
    this.#wasReady ||= wasReady;
    if (isReplaced) return null;
    // What the parent saw goes before what the process says.
    return (
      error ?? failure ?? (signal === null ? `it ended with status ${code ?? 'unknown'}` : `it was killed by ${signal}`)
    );
  }

  #settle(version: number, outcome: ApplyOutcome): void {
    for (const waiting of this.#waiting) if (waiting.version <= version) waiting.resolve(outcome);
    this.#waiting = this.#waiting.filter((waiting) => waiting.version > version);
  }

  #alive(): DataPlaneProcess {
    if (this.#process === undefined)
      throw new TransientError('The data plane is being restarted. Try again in a moment');
    return this.#process;
  }
}

const APPLY_LIMIT_MS = 10_000;
const FIRST_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 30_000;
/** With the back-off about two minutes. */
const MAX_FAILURES_IN_A_ROW = 10;
const LONG_RUN_MS = 60_000;
