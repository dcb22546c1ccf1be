import type { Ipv4 } from '../../net/ipv4.ts';
import type { Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import type { PeerRecord, PolicyTables, SocketAddressBytes, TcpConnectionId } from '../data-channel.ts';
import { ByteRing } from './ring.ts';
import { RecordRing } from './ring-record.ts';

/** What one tunnel thread is started with: descriptors, shared memory, and the ways to wake the others. */
export interface TunnelThreadStart {
  readonly thread: number;
  readonly threads: number;
  readonly transport: 'udp' | 'tcp';
  /** UDP socket or TCP listener. */
  readonly socket: number;
  readonly tun: number;
  readonly tunMtu: number;
  readonly gatewayAddress: Ipv4;
  readonly clientCidr: Ipv4Prefix;
  readonly slots: number;
  readonly maxConnections: number;
  readonly shared: SharedLinks;
}

/** Shared memory and event descriptors of all threads. Index `threads` stands for the control thread. */
export interface SharedLinks {
  /** Words of ThreadWord for each thread. */
  readonly words: SharedArrayBuffer;
  readonly wakeups: readonly number[];
  readonly owners: SharedArrayBuffer;
  /** Per thread. */
  readonly traffic: readonly SharedArrayBuffer[];
  readonly counters: readonly SharedArrayBuffer[];
  /** [from][to]; null where from = to. */
  readonly between: readonly (readonly (SharedArrayBuffer | null)[])[];
  /** Thread → control. */
  readonly known: readonly SharedArrayBuffer[];
  readonly stranger: readonly SharedArrayBuffer[];
  /** Control → thread: TCP bytes and packets that only an address names. */
  readonly fromControl: readonly SharedArrayBuffer[];
}

/** One message carries all verbs of one turn of the control thread: no packet sees a part of them. */
export interface VerbMessage {
  /** Grows by one with each message to a thread. */
  readonly sequence: number;
  readonly verbs: readonly TunnelVerb[];
  /** The control thread waits for it to be applied, and is woken; of others it finds out in passing. */
  readonly isAwaited: boolean;
}

export type TunnelVerb =
  | { readonly verb: 'newPeer'; readonly peer: PeerRecord }
  | { readonly verb: 'setRemote'; readonly peerId: number; readonly remote: SocketAddressBytes }
  | { readonly verb: 'setGroups'; readonly peerId: number; readonly groups: Int32Array }
  | { readonly verb: 'deletePeer'; readonly peerId: number }
  | {
      readonly verb: 'newKey';
      readonly peerId: number;
      readonly slot: 'primary' | 'secondary';
      readonly keyId: number;
      /** In the native key table: the bytes themselves cross no port. */
      readonly handle: number;
    }
  | { readonly verb: 'swapKeys'; readonly peerId: number }
  | { readonly verb: 'deleteKey'; readonly peerId: number; readonly keyId: number }
  | { readonly verb: 'setPolicy'; readonly policy: PolicyTables }
  | { readonly verb: 'closeTcp'; readonly connection: TcpConnectionId };

/** Per thread, in `SharedLinks.words`. */
export const ThreadWord = {
  /** 1 while the thread may sleep: whoever gives it work rings. */
  Sleeping: 0,
  /** 1: leave the loop. */
  Stop: 1,
  /** Sequence of the last verb message posted. */
  VerbsPosted: 2,
  /** Sequence of the last verb message applied. */
  VerbsApplied: 3,
  Count: 16,
} as const;

/** The sleeping flag of one thread and its event descriptor: a system call only when it really sleeps. */
export class Doorbell {
  readonly #words: Int32Array;
  readonly #index: number;
  readonly #fd: number;
  readonly #signal: (fd: number) => void;

  constructor(links: SharedLinks, thread: number, signal: (fd: number) => void) {
    this.#words = new Int32Array(links.words);
    this.#index = thread * ThreadWord.Count + ThreadWord.Sleeping;
    this.#fd = links.wakeups[thread];
    this.#signal = signal;
  }

  ring(): void {
    if (Atomics.load(this.#words, this.#index) === 0) return;
    if (Atomics.exchange(this.#words, this.#index, 0) === 1) this.#signal(this.#fd);
  }

  /** The owner is about to sleep: it must look at its rings once more after this. */
  sleep(): void {
    Atomics.store(this.#words, this.#index, 1);
  }

  wake(): void {
    Atomics.store(this.#words, this.#index, 0);
  }
}

export function recordRing(shared: SharedArrayBuffer): RecordRing {
  return new RecordRing(new ByteRing(shared));
}
