import { InternalError } from '../../net/errors.ts';
import type { TcpRefusal } from '../data-channel.ts';
import { REMOTE_BYTES } from '../tunnel/packet-batch.ts';
import { Counter, type ThreadCounters } from '../tunnel/thread-counters.ts';
import type { NativeAddon } from './native-addon.ts';
import { TcpRefusals, type ReportRefusals } from './tcp-refusals.ts';

export interface TcpListenerOptions {
  readonly addon: NativeAddon;
  readonly listener: number;
  readonly poll: number;
  readonly listenerTag: number;
  readonly counters: ThreadCounters;
  /** Takes a connection over. @returns why it does not: it is then closed. */
  readonly admit: (fd: number, remote: Uint8Array) => TcpRefusal | undefined;
  readonly report: ReportRefusals;
}

/** One thread's listener: takes what comes, and turns it away by name when something has run out. */
export class TcpListener {
  readonly #options: TcpListenerOptions;
  readonly #remote = new Uint8Array(REMOTE_BYTES);
  readonly #refusals: TcpRefusals;
  /** A descriptor to give up when there is no other left, so that a connection can be taken to be closed; −1: none. */
  #spare: number;
  /** 0: accepting. */
  #acceptAgainAt = 0;

  constructor(options: TcpListenerOptions) {
    this.#options = options;
    this.#refusals = new TcpRefusals(options.report);
    this.#spare = options.addon.eventCreate();
  }

  accept(): void {
    const { addon, listener } = this.#options;
    for (let taken = 0; taken < ACCEPTS_PER_TURN; taken++) {
      const fd = addon.tcpAccept(listener, this.#remote);
      if (fd === -EAGAIN) return;
      if (fd >= 0) this.#admit(fd);
      else if (fd === -EMFILE || fd === -ENFILE) {
        if (!this.#turnAway()) return;
      } else if (fd === -ENOBUFS || fd === -ENOMEM) {
        this.#remote.fill(0);
        this.#refuse('no-kernel-memory-left');
        this.#pause();
        return;
      } else if (fd === -EINVAL) throw new InternalError('The listener was ended from outside');
      // Any other failure is that connection's own: its client has gone, or a filter refuses it.
    }
  }

  /** Does what is due: accepting again after a pause, and telling what was turned away. */
  expire(now: number): void {
    this.#refusals.tell(now);
    if (this.#acceptAgainAt === 0 || now < this.#acceptAgainAt) return;
    this.#acceptAgainAt = 0;
    if (this.#spare < 0) this.#spare = this.#newSpare();
    const { addon, poll, listener, listenerTag } = this.#options;
    addon.pollAdd(poll, listener, listenerTag, false);
  }

  /** Gives back what it opened; the listener itself stays the caller's. */
  close(): void {
    if (this.#spare >= 0) this.#options.addon.close(this.#spare);
    this.#spare = -1;
  }

  #admit(fd: number): void {
    const refusal = this.#options.admit(fd, this.#remote);
    if (refusal === undefined) return;
    this.#options.addon.close(fd);
    this.#refuse(refusal);
  }

  /**
   * Closes the next connection for want of a descriptor: its client hears at once, and can try elsewhere or later.
   * @returns false when not even that can be done: then the listener rests.
   */
  #turnAway(): boolean {
    const { addon, listener } = this.#options;
    this.close();
    const fd = addon.tcpAccept(listener, this.#remote);
    if (fd >= 0) addon.close(fd);
    else this.#remote.fill(0);
    this.#refuse('no-descriptor-left');
    this.#spare = this.#newSpare();
    if (fd >= 0 && this.#spare >= 0) return true;
    this.#pause();
    return false;
  }

  #newSpare(): number {
    try {
      return this.#options.addon.eventCreate();
    } catch {
      // Somebody else took it.
      return -1;
    }
  }

  #refuse(reason: TcpRefusal): void {
    this.#options.counters.count(Counter.TcpRefused);
    this.#refusals.note(reason, this.#remote);
  }

  /** What can't be taken would keep the listener readable, and the loop would spin. */
  #pause(): void {
    const { addon, poll, listener } = this.#options;
    addon.pollRemove(poll, listener);
    this.#acceptAgainAt = addon.monotonicMs() + PAUSE_MS;
  }
}

const ACCEPTS_PER_TURN = 64;
const PAUSE_MS = 200;
const EAGAIN = 11;
const ENOMEM = 12;
const EINVAL = 22;
const ENFILE = 23;
const EMFILE = 24;
const ENOBUFS = 105;
