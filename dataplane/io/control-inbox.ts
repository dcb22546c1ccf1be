import type { DataChannelNotification, SocketAddressBytes, TcpRefusal } from '../data-channel.ts';
import type { NativeAddon } from './native-addon.ts';
import { RecordKind, type RecordRing } from './ring-record.ts';
import { Doorbell, recordRing, type SharedLinks } from './thread-link.ts';

export interface ControlInboxOptions {
  readonly addon: NativeAddon;
  readonly links: SharedLinks;
  readonly onNotification: (notification: DataChannelNotification) => void;
  /** A data packet whose peer only its address names. */
  readonly onUnowned: (bytes: Uint8Array, remote: SocketAddressBytes) => void;
  /** After each turn: threads may have acknowledged verbs. */
  readonly onTurn: () => void;
}

/**
 * The control thread's end of the rings. Known remotes are read before strangers and both in bounded turns, so that
 * garbage can neither starve renewals nor the event loop.
 */
export class ControlInbox {
  readonly #options: ControlInboxOptions;
  readonly #known: readonly RecordRing[];
  readonly #strangers: readonly RecordRing[];
  readonly #doorbell: Doorbell;
  readonly #wakeup: number;
  readonly #stopWatching: () => void;
  #isScheduled = false;
  #isClosed = false;

  constructor(options: ControlInboxOptions) {
    const { addon, links } = options;
    this.#options = options;
    this.#known = links.known.map(recordRing);
    this.#strangers = links.stranger.map(recordRing);
    const control = links.wakeups.length - 1;
    this.#wakeup = links.wakeups[control];
    this.#doorbell = new Doorbell(links, control, (fd) => addon.eventSignal(fd));
    this.#doorbell.sleep();
    this.#stopWatching = addon.watchReadable(this.#wakeup, () => {
      addon.eventClear(this.#wakeup);
      if (!this.#isScheduled) this.#turn();
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#stopWatching();
  }

  #turn(): void {
    if (this.#isClosed) return;
    this.#doorbell.wake();
    for (const ring of this.#known) this.#drain(ring, KNOWN_PER_TURN);
    for (const ring of this.#strangers) this.#drain(ring, STRANGERS_PER_TURN);
    this.#options.onTurn();
    this.#doorbell.sleep();
    // Whoever published before `sleep` did not ring.
    if (this.#hasRecords()) this.#schedule();
    else this.#options.onTurn();
  }

  /** One turn at a time: each that found something left would otherwise have another follow it, and the wakeups theirs. */
  #schedule(): void {
    // Nobody needs to ring meanwhile.
    this.#doorbell.wake();
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#turn();
    });
  }

  #hasRecords(): boolean {
    return this.#known.some((ring) => !ring.ring.isEmpty()) || this.#strangers.some((ring) => !ring.ring.isEmpty());
  }

  #drain(ring: RecordRing, limit: number): void {
    for (let taken = 0; taken < limit; taken++) {
      const kind = ring.next();
      if (kind === 0) return;
      if (kind === RecordKind.Unowned) {
        const bytes = ring.copyPayload();
        const remote = ring.copyRemote();
        ring.ring.release();
        this.#options.onUnowned(bytes, remote);
        continue;
      }
      const notification = notificationFrom(kind, ring);
      ring.ring.release();
      if (notification !== undefined) this.#options.onNotification(notification);
    }
  }
}

function notificationFrom(kind: number, ring: RecordRing): DataChannelNotification | undefined {
  const { peer: peerId, generation, keyId, connection } = ring;
  switch (kind) {
    case RecordKind.ControlPacket:
      return connection > 0
        ? { kind: 'controlPacket', bytes: ring.copyPayload(), remote: null, connection }
        : { kind: 'controlPacket', bytes: ring.copyPayload(), remote: ring.copyRemote(), connection: null };
    case RecordKind.TcpOpened:
      return { kind: 'tcpOpened', connection, remote: ring.copyRemote() };
    case RecordKind.TcpClosed:
      return { kind: 'tcpClosed', connection, reason: UTF8.decode(ring.copyPayload()) };
    case RecordKind.TcpRefused: {
      const reason = UTF8.decode(ring.copyPayload()) as TcpRefusal; // Only `ControlOutbox.tcpRefused` writes it.
      return { kind: 'tcpRefused', reason, remote: ring.copyRemote(), count: connection };
    }
    case RecordKind.Floated:
      return { kind: 'floated', peerId, generation, remote: ring.copyRemote() };
    case RecordKind.KeepaliveLost:
      return { kind: 'keepaliveLost', peerId, generation };
    case RecordKind.ExitNotified:
      return { kind: 'exitNotified', peerId, generation };
    case RecordKind.KeySwitched:
      return { kind: 'keySwitched', peerId, generation, keyId };
    case RecordKind.KeyExhausted:
      return { kind: 'keyExhausted', peerId, generation, keyId };
    default:
      return undefined;
  }
}

const UTF8 = new TextDecoder();
const KNOWN_PER_TURN = 256;
const STRANGERS_PER_TURN = 64;
