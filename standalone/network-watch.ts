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

  constructor(options: NetworkWatchOptions) {
    this.#options = options;
    this.#schedule();
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
      const report = await net.refresh(++this.#round % LOOKS_PER_RULE_CHECK === 0 ? 'rules' : 'forwarding');
      if (report.switchedOn.length > 0) log.info({ interfaces: report.switchedOn }, 'Switched forwarding on');
      if (report.rules === 'reinstalled') log.warn('Reinstalled the nft table that somebody had changed');
      if (report.tun === 'gone') await onTunGone();
      this.#lastTrouble = '';
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== this.#lastTrouble) log.error({ reason }, 'Forwarding or rules could not be looked after');
      this.#lastTrouble = reason;
    }
  }
}

/** A second gateway that ends puts forwarding back: this long at most until it is on again for us. */
const LOOK_MS = 500;
const LOOKS_PER_RULE_CHECK = 10;
