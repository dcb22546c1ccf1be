import type { Logger } from '../dataplane/io/logger.ts';
import type { NetSetup } from '../dataplane/net-setup/net-setup.ts';

export interface NetworkWatchOptions {
  readonly net: NetSetup;
  readonly log: Logger;
  /** Called when the TUN is gone; the next look waits for it. */
  readonly onTunGone: () => Promise<void>;
}

/** Looks after forwarding and rules for as long as a gateway runs. */
export class NetworkWatch {
  readonly #options: NetworkWatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #closed = false;
  #round = 0;
  #lastTrouble = '';
  #obstacles: readonly string[] = [];

  constructor(options: NetworkWatchOptions) {
    this.#options = options;
    this.#schedule();
  }

  /** What others on this machine do to our clients' packets, as of the last look. */
  get obstacles(): readonly string[] {
    return this.#obstacles;
  }

  /** Looks for rules of others that stop our clients, and says so when that changes. */
  async lookForObstacles(): Promise<void> {
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
    clearTimeout(this.#timer);
    await this.#looking;
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#look().then(() => this.#schedule());
    }, LOOK_MS);
  }

  async #look(): Promise<void> {
    const { net, log, onTunGone } = this.#options;
    try {
      const isRuleCheck = ++this.#round % LOOKS_PER_RULE_CHECK === 0;
      const report = await net.refresh(isRuleCheck ? 'rules' : 'forwarding');
      if (report.switchedOn.length > 0) log.info({ interfaces: report.switchedOn }, 'Switched forwarding on');
      if (report.rules === 'reinstalled') log.warn('Reinstalled the nft table that somebody had changed');
      if (report.tun === 'mended') log.warn('Mended the TUN device, which somebody had taken down or changed');
      if (report.tun === 'gone') await onTunGone();
      else if (isRuleCheck) await this.lookForObstacles();
      this.#lastTrouble = '';
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== this.#lastTrouble) log.error({ reason }, 'Forwarding or rules could not be looked after');
      this.#lastTrouble = reason;
    }
  }
}

/** What somebody switches off stays off for this long at most. */
const LOOK_MS = 500;
const LOOKS_PER_RULE_CHECK = 10;
