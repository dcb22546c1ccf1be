import { addressBlock } from '../../net/address-block.ts';
import { Tally } from '../../net/tally.ts';
import type { Remote } from './engine-io.ts';
import { chooseVictim } from './eviction.ts';
import { networkOf } from './rate-limit.ts';

/** A TCP connection from its accept until a login on it has succeeded. */
export interface TcpOpening {
  readonly kind: 'tcpOpening';
  readonly remote: Remote;
}

/** Counts unfinished TCP connections by subscriber, so that one can't hold them all, whatever addresses it has. */
export class TcpOpenings {
  readonly #perSubscriberLimit: number;
  /** Oldest first. */
  readonly #byKey = new Map<string, TcpOpening>();
  readonly #perSubscriber = new Tally();
  readonly #perNetwork = new Tally();

  constructor(perSubscriberLimit: number) {
    this.#perSubscriberLimit = perSubscriberLimit;
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
      crowd: this.#perNetwork.of(networkOf(remote.address)),
    }));
  }

  all(): readonly TcpOpening[] {
    return [...this.#byKey.values()];
  }

  /** Whether the subscriber has as many as it may. */
  isShareTaken(remote: Remote): boolean {
    return this.#perSubscriber.of(subscriberOf(remote)) >= this.#perSubscriberLimit;
  }

  /** Whether it may is for the caller to ask. */
  begin(remote: Remote): TcpOpening {
    this.#perSubscriber.add(subscriberOf(remote));
    this.#perNetwork.add(networkOf(remote.address));
    const opening: TcpOpening = { kind: 'tcpOpening', remote };
    this.#byKey.set(remote.key, opening);
    return opening;
  }

  /** The connection has a login now, or is gone; both may be said twice. */
  finish(key: string): TcpOpening | undefined {
    const opening = this.#byKey.get(key);
    if (opening === undefined) return undefined;
    this.#byKey.delete(key);
    this.#perSubscriber.remove(subscriberOf(opening.remote));
    this.#perNetwork.remove(networkOf(opening.remote.address));
    return opening;
  }
}

function subscriberOf({ address }: Remote): string {
  return addressBlock(address, 32, 64);
}
