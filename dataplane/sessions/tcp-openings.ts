import type { Remote } from './engine-io.ts';
import { chooseVictim } from './eviction.ts';

/** A TCP connection from its accept until a login on it has succeeded. */
export interface TcpOpening {
  readonly kind: 'tcpOpening';
  readonly remote: Remote;
}

/** Counts unfinished TCP connections by address, so that one address can't hold them all. */
export class TcpOpenings {
  readonly #perAddressLimit: number;
  /** Oldest first. */
  readonly #byKey = new Map<string, TcpOpening>();
  readonly #perAddress = new Map<string, number>();

  constructor(perAddressLimit: number) {
    this.#perAddressLimit = perAddressLimit;
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): TcpOpening | undefined {
    return this.#byKey.get(key);
  }

  /** Who makes room when there are too many. */
  toEvict(isAdvanced: (remote: Remote) => boolean): TcpOpening | undefined {
    return chooseVictim(this.#byKey.values(), ({ remote }) => ({
      isAdvanced: isAdvanced(remote),
      crowd: this.#perAddress.get(remote.address) ?? 0,
    }));
  }

  all(): readonly TcpOpening[] {
    return [...this.#byKey.values()];
  }

  /** @returns undefined when the address has its share. */
  begin(remote: Remote): TcpOpening | undefined {
    const count = this.#perAddress.get(remote.address) ?? 0;
    if (count >= this.#perAddressLimit) return undefined;
    this.#perAddress.set(remote.address, count + 1);
    const opening: TcpOpening = { kind: 'tcpOpening', remote };
    this.#byKey.set(remote.key, opening);
    return opening;
  }

  /** The connection has a login now, or is gone; both may be said twice. */
  finish(key: string): TcpOpening | undefined {
    const opening = this.#byKey.get(key);
    if (opening === undefined) return undefined;
    this.#byKey.delete(key);
    const { address } = opening.remote;
    const count = (this.#perAddress.get(address) ?? 1) - 1;
    if (count === 0) this.#perAddress.delete(address);
    else this.#perAddress.set(address, count);
    return opening;
  }
}
