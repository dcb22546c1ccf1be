import { openSync } from 'node:fs';
import type { NativeAddon } from '../dataplane/io/native-addon.ts';
import { InternalError } from '../net/errors.ts';

/**
 * Starts processes in process namespaces of their own. The kernel ends with each whatever it has started, and it can signal
 * or trace nobody else who runs as its user, such as the data plane of a second gateway.
 */
export class Enclosure {
  readonly #addon: Pick<NativeAddon, 'pidNamespace'>;
  /** Kept: when something is to be started again there may be no descriptor left. */
  readonly #own = openSync('/proc/self/ns/pid', 'r');
  /** False without CAP_SYS_ADMIN, as in most containers: what is started is then among our own processes. */
  readonly isPossible: boolean;

  constructor(addon: Pick<NativeAddon, 'pidNamespace'>) {
    this.#addon = addon;
    this.isPossible = this.#enter();
    if (this.isPossible) this.#leave();
  }

  start<T>(start: () => T): T {
    if (!this.#enter()) return start();
    try {
      return start();
    } finally {
      this.#leave();
    }
  }

  #enter(): boolean {
    return this.#addon.pidNamespace(this.#own, true) === 0;
  }

  #leave(): void {
    const result = this.#addon.pidNamespace(this.#own, false);
    if (result !== 0) throw new InternalError(`The process namespace could not be left: errno ${-result}`);
  }
}
