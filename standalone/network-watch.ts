import type { Logger } from '../dataplane/io/logger.ts';
import type { NativeAddon } from '../dataplane/io/native-addon.ts';
import type { NetSetup } from '../dataplane/net-setup/net-setup.ts';
import { KernelEvents, type KernelEvent } from './kernel-events.ts';

export interface NetworkWatchOptions {
  readonly addon: NativeAddon;
  readonly net: NetSetup;
  readonly log: Logger;
  /** Called when the TUN is gone; the next look waits for it. */
  readonly onTunGone: () => Promise<void>;
}

/**
 * Looks after forwarding and rules for as long as a gateway runs: when the kernel says that something has changed, but
 * not all the time on a machine where much does, and now and then in any case.
 */
export class NetworkWatch {
  readonly #options: NetworkWatchOptions;
  readonly #events: KernelEvents;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #closed = false;
  #lastLook = -Infinity;
  #lastRuleCheck = -Infinity;
  #nextLook = Infinity;
  #nextRuleCheck = -Infinity;
  #lastTrouble = '';
  #obstacles: readonly string[] = [];

  /** @throws Error of the system where it can't listen to the kernel */
  constructor(options: NetworkWatchOptions) {
    this.#options = options;
    const { addon, net } = options;
    this.#events = new KernelEvents({ addon, table: net.plan.table, onEvent: (event) => this.#hear(event) });
  }

  /** Looks for the first time, at what changed before it listened too. */
  async start(): Promise<void> {
    await this.#lookNow();
  }

  /** What others on this machine do to our clients' packets, as of the last look. */
  get obstacles(): readonly string[] {
    return this.#obstacles;
  }

  /** Looks for rules of others that stop our clients, and says so when that changes. */
  async #lookForObstacles(): Promise<void> {
    const { net, log } = this.#options;
    const found = await net.obstacles();
    for (const obstacle of found)
      if (!this.#obstacles.includes(obstacle)) log.warn({ obstacle }, 'Clients are cut off');
    if (found.length === 0 && this.#obstacles.length > 0)
      log.info('Nothing else on this machine cuts clients off any more');
    this.#obstacles = found;
  }

  /** Ends once a look that is under way is over. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#events.close();
    clearTimeout(this.#timer);
    await this.#looking;
  }

  #hear(event: KernelEvent): void {
    const soon = performance.now() + REST_MS;
    const next = Math.max(soon, this.#lastLook + PAUSE_MS);
    if (event === 'links') this.#nextLook = Math.min(this.#nextLook, next);
    else if (event === 'own rules') this.#nextRuleCheck = Math.min(this.#nextRuleCheck, next);
    else
      this.#nextRuleCheck = Math.min(this.#nextRuleCheck, Math.max(soon, this.#lastRuleCheck + OTHER_RULES_PAUSE_MS));
    this.#schedule();
  }

  #schedule(): void {
    if (this.#closed || this.#looking !== undefined) return;
    clearTimeout(this.#timer);
    const wait = Math.min(this.#nextLook, this.#nextRuleCheck) - performance.now();
    this.#timer = setTimeout(() => void this.#lookNow(), Math.max(0, Math.ceil(wait)));
  }

  #lookNow(): Promise<void> {
    this.#looking = this.#look().finally(() => {
      this.#looking = undefined;
      this.#schedule();
    });
    return this.#looking;
  }

  async #look(): Promise<void> {
    const { net, log, onTunGone } = this.#options;
    const now = performance.now();
    const isRuleCheck = now >= this.#nextRuleCheck;
    this.#lastLook = now;
    this.#nextLook = Infinity;
    if (isRuleCheck) {
      this.#lastRuleCheck = now;
      this.#nextRuleCheck = now + SELDOM_MS;
    }
    try {
      const report = await net.refresh(isRuleCheck ? 'rules' : 'forwarding');
      if (report.switchedOn.length > 0) log.info({ interfaces: report.switchedOn }, 'Switched forwarding on');
      if (report.rules === 'reinstalled') log.warn('Reinstalled the nft table that somebody had changed');
      if (report.tun === 'mended') log.warn('Mended the TUN device, which somebody had taken down or changed');
      if (report.tun === 'gone') await onTunGone();
      else if (isRuleCheck) await this.#lookForObstacles();
      this.#lastTrouble = '';
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== this.#lastTrouble) log.error({ cause: reason }, 'Forwarding or rules could not be looked after');
      this.#lastTrouble = reason;
      if (isRuleCheck) this.#nextRuleCheck = now + OTHER_RULES_PAUSE_MS;
      else this.#nextLook = now + PAUSE_MS;
    }
  }
}

/** Changes come in bursts. */
const REST_MS = 20;
/** What somebody switches off again and again stays off for this long at most. */
const PAUSE_MS = 500;
/** A container engine changes rules of its own with each container, and each look at all rules starts nft thrice. */
const OTHER_RULES_PAUSE_MS = 5_000;
/** In case the kernel has not said it. */
const SELDOM_MS = 60_000;
