import { InternalError, TransientError } from '../../net/errors.ts';
import type { Ipv4 } from '../../net/ipv4.ts';
import { prefixSize, type Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import type {
  DataChannel,
  DataChannelNotification,
  DataKeyMaterial,
  PeerRecord,
  PeerTraffic,
  PolicyTables,
  SocketAddressBytes,
  TcpConnectionId,
} from '../data-channel.ts';
import { NO_PEER_ID, OPCODE_DATA_V2, Traffic, TRAFFIC_FIELDS } from '../tunnel/peer-table.ts';
import { ControlInbox } from './control-inbox.ts';
import { loadAddon } from './load-addon.ts';
import type { NativeAddon } from './native-addon.ts';
import { STRAY_BYTES_MAX } from './ring-record.ts';
import type { SharedLinks, TunnelVerb } from './thread-link.ts';
import { sumCounters, type TunnelCounters } from './tunnel-counters.ts';
import { makeSharedLinks, TunnelThreadHandle } from './tunnel-thread-handle.ts';

export interface TunnelHostOptions {
  readonly addon?: NativeAddon;
  readonly transport: 'udp' | 'tcp';
  /** One for each thread, in reuseport order; empty for TCP. */
  readonly udpDescriptors: readonly number[];
  /** One listener for each thread; empty for UDP. */
  readonly tcpDescriptors: readonly number[];
  /** One queue for each thread; their number is the number of threads, a power of two. */
  readonly tunDescriptors: readonly number[];
  readonly tunMtu: number;
  readonly gatewayAddress: Ipv4;
  readonly clientCidr: Ipv4Prefix;
  /** Peers at one time. Absent: as many as the client network has addresses, at most 32,768. */
  readonly maxPeers?: number;
  /** A tunnel thread died. Absent: the process does, since nothing it forwards can be relied on. */
  readonly onFailure?: (error: Error) => void;
}

/**
 * The control thread's side of the tunnel threads: starts them, turns verbs into messages, rings into notifications,
 * and reads what they count. Verbs of one turn of the event loop travel together. The descriptors stay the caller's.
 */
export class TunnelHost implements DataChannel {
  readonly threads: number;
  /** Peers that each thread has room for. */
  readonly slots: number;
  readonly #options: TunnelHostOptions;
  readonly #addon: NativeAddon;
  readonly #links: SharedLinks;
  readonly #workers: readonly TunnelThreadHandle[];
  readonly #inbox: ControlInbox;
  readonly #peers = new Map<number, HostPeer>();
  readonly #remotes = new Map<string, number>();
  readonly #policyWaits: PolicyWait[] = [];
  readonly #onExit: () => void;
  #listener: (notification: DataChannelNotification) => void = () => undefined;
  #flushPending = false;
  #freeing: NodeJS.Timeout | undefined;
  #stopped = false;

  /** Resolves when every thread waits for packets. */
  static async start(options: TunnelHostOptions): Promise<TunnelHost> {
    const host = new TunnelHost(options);
    try {
      await Promise.all(host.#workers.map((worker) => worker.started));
    } catch (error) {
      await host.stop();
      throw error;
    }
    return host;
  }

  private constructor(options: TunnelHostOptions) {
    const threads = options.tunDescriptors.length;
    const sockets = options.transport === 'udp' ? options.udpDescriptors : options.tcpDescriptors;
    if (threads < 1 || threads > THREADS_MAX || (threads & (threads - 1)) !== 0 || sockets.length !== threads) {
      throw new InternalError(
        `${threads} TUN queues and ${sockets.length} sockets: expected as many of each, a power of two up to ${THREADS_MAX}`,
      );
    }
    this.threads = threads;
    this.#options = options;
    this.#addon = options.addon ?? loadAddon();
    const maxPeers = options.maxPeers ?? Math.min(prefixSize(options.clientCidr), PEERS_MAX);
    // Any thread may get all TCP peers, and a freed id rests for a minute before it is used again.
    this.slots = 2 * maxPeers + SPARE_SLOTS;
    this.#links = makeSharedLinks(this.#addon, threads, this.slots, options.clientCidr);
    this.#inbox = new ControlInbox({
      addon: this.#addon,
      links: this.#links,
      onNotification: (notification) => this.#listener(notification),
      onUnowned: (bytes, remote) => this.deliverData(bytes, remote),
      onTurn: () => this.#afterAcknowledgements(),
    });
    // A worker in a native wait would hold up the end of the process for ever.
    this.#onExit = () => this.#workers.forEach((worker) => worker.signalStop());
    process.on('exit', this.#onExit);
    this.#workers = options.tunDescriptors.map((tun, thread) => {
      const start = {
        thread,
        threads,
        transport: options.transport,
        socket: sockets[thread],
        tun,
        tunMtu: options.tunMtu,
        gatewayAddress: options.gatewayAddress,
        clientCidr: options.clientCidr,
        slots: this.slots,
        maxConnections: maxPeers + SPARE_CONNECTIONS,
        shared: this.#links,
      };
      return new TunnelThreadHandle(this.#addon, start, (error) => this.#onThreadDeath(thread, error));
    });
  }

  onNotification(listener: (notification: DataChannelNotification) => void): void {
    this.#listener = listener;
  }

  // ---- verbs ----

  newPeer(peer: PeerRecord): void {
    if (Math.floor(peer.peerId / this.threads) >= this.slots)
      throw new InternalError(`There is no slot for peer ${peer.peerId}`);
    this.deletePeer(peer.peerId);
    const remoteKey = peer.transport.kind === 'udp' ? keyOfRemote(peer.transport.remote) : null;
    if (remoteKey !== null) this.#remotes.set(remoteKey, peer.peerId);
    const madeBy = this.#workerOf(peer.peerId).nextSequence;
    this.#peers.set(peer.peerId, { remoteKey, keys: new Map(), madeBy });
    this.#post(peer.peerId, { verb: 'newPeer', peer });
  }

  setRemote(peerId: number, remote: SocketAddressBytes): void {
    const peer = this.#peers.get(peerId);
    if (peer === undefined) return;
    this.#forgetRemote(peerId, peer);
    peer.remoteKey = keyOfRemote(remote);
    this.#remotes.set(peer.remoteKey, peerId);
    this.#post(peerId, { verb: 'setRemote', peerId, remote: Uint8Array.from(remote) });
  }

  setGroups(peerId: number, groups: Int32Array): void {
    if (this.#peers.has(peerId)) this.#post(peerId, { verb: 'setGroups', peerId, groups });
  }

  deletePeer(peerId: number): void {
    const peer = this.#peers.get(peerId);
    if (peer === undefined) return;
    this.#peers.delete(peerId);
    this.#forgetRemote(peerId, peer);
    this.#post(peerId, { verb: 'deletePeer', peerId });
    for (const handle of peer.keys.values()) this.#workerOf(peerId).freeKeyLater(handle);
  }

  /** @throws TransientError when the native key table is full. */
  newKey(peerId: number, slot: 'primary' | 'secondary', key: DataKeyMaterial): void {
    const peer = this.#peers.get(peerId);
    const { keyId } = key;
    try {
      if (peer === undefined) return;
      const handle = this.#addon.keyInstall(key);
      if (handle < 0) throw new TransientError('The table of data keys is full');
      const replaced = peer.keys.get(keyId);
      peer.keys.set(keyId, handle);
      this.#post(peerId, { verb: 'newKey', peerId, slot, keyId, handle });
      if (replaced !== undefined) this.#workerOf(peerId).freeKeyLater(replaced);
    } finally {
      for (const secret of [key.encryptKey, key.encryptIv, key.decryptKey, key.decryptIv]) secret.fill(0);
    }
  }

  swapKeys(peerId: number): void {
    if (this.#peers.has(peerId)) this.#post(peerId, { verb: 'swapKeys', peerId });
  }

  deleteKey(peerId: number, keyId: number): void {
    const peer = this.#peers.get(peerId);
    const handle = peer?.keys.get(keyId);
    if (peer === undefined || handle === undefined) return;
    peer.keys.delete(keyId);
    this.#post(peerId, { verb: 'deleteKey', peerId, keyId });
    this.#workerOf(peerId).freeKeyLater(handle);
  }

  setPolicy(policy: PolicyTables): void {
    if (this.#stopped) return;
    for (const worker of this.#workers) this.#enqueue(worker, { verb: 'setPolicy', policy });
    const sequences = this.#workers.map((worker) => worker.nextSequence);
    this.#policyWaits.push({ epoch: policy.epoch, sequences, resolvers: [] });
  }

  /** Resolves when every thread has swapped to `epoch` or a later one; at once if none is on its way. */
  policyEnforced(epoch: number): Promise<void> {
    const wait = this.#policyWaits.find((candidate) => candidate.epoch >= epoch);
    if (wait === undefined) return Promise.resolve();
    return new Promise((resolve) => wait.resolvers.push(resolve));
  }

  transmitTcp(connection: TcpConnectionId, bytes: Uint8Array): void {
    const worker = this.#workers[connection & THREAD_MASK];
    // A stream cannot lose a frame.
    if (worker !== undefined && !worker.transmitTcp(connection, bytes)) this.closeTcp(connection);
  }

  closeTcp(connection: TcpConnectionId): void {
    const worker = this.#workers[connection & THREAD_MASK];
    if (worker === undefined || worker.closeTcp(connection)) return;
    this.#enqueue(worker, { verb: 'closeTcp', connection });
  }

  /**
   * Hands over a data packet that came to the control socket: DATA_V1, or DATA_V2 without a peer id. Its peer is the one
   * at that remote; without one it is dropped, as data from strangers is. A peer id on the packet counts alone.
   */
  deliverData(bytes: Uint8Array, remote: SocketAddressBytes): void {
    const named = peerIdOn(bytes);
    const peerId = named ?? this.#remotes.get(keyOfRemote(remote));
    if (peerId === undefined || bytes.length > STRAY_BYTES_MAX) return;
    this.#workerOf(peerId).deliverWire(peerId, bytes, remote);
  }

  // ---- what the threads know ----

  /** Inner traffic of a peer, also after its end until the id is used again; undefined for an id never used. */
  traffic(peerId: number): PeerTraffic | undefined {
    const slot = Math.floor(peerId / this.threads);
    const worker = this.#workerOf(peerId);
    if (slot >= this.slots || worker.traffic[slot * TRAFFIC_FIELDS + Traffic.LastReceived] === 0) return undefined;
    const peer = this.#peers.get(peerId);
    // What stands there until the thread has made the new peer is its predecessor's.
    if (peer !== undefined && peer.madeBy > worker.applied) return NO_TRAFFIC;
    return readTraffic(worker.traffic, slot);
  }

  counters(): TunnelCounters {
    return sumCounters(
      this.#addon.counterNames(),
      this.#workers.map((worker) => worker.counters),
      this.#workers.map((worker) => readTraffic(worker.traffic, this.slots)),
    );
  }

  /** Stops the threads and frees what they used. Resolves when they are gone. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#flush();
    this.#stopped = true;
    for (const worker of this.#workers) worker.signalStop();
    await Promise.all(this.#workers.map((worker) => worker.ended));
    process.off('exit', this.#onExit);
    this.#inbox.close();
    clearTimeout(this.#freeing);
    for (const worker of this.#workers) worker.freeKeys(Infinity);
    for (const peer of this.#peers.values()) for (const handle of peer.keys.values()) this.#addon.keyFree(handle);
    for (const wakeup of this.#links.wakeups) this.#addon.close(wakeup);
    for (const wait of this.#policyWaits) for (const resolve of wait.resolvers) resolve();
  }

  // ---- messages ----

  #workerOf(peerId: number): TunnelThreadHandle {
    return this.#workers[peerId % this.threads];
  }

  #post(peerId: number, verb: TunnelVerb): void {
    this.#enqueue(this.#workerOf(peerId), verb);
  }

  /** What is called for in one turn leaves in one message: no packet sees a part of it. */
  #enqueue(worker: TunnelThreadHandle, verb: TunnelVerb): void {
    if (this.#stopped) return;
    worker.add(verb);
    if (this.#flushPending) return;
    this.#flushPending = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#flushPending = false;
    if (this.#stopped) return;
    for (const worker of this.#workers) worker.flush();
    this.#freeKeys();
  }

  /** Frees what no thread can use any more, and looks again while there is something that one may. */
  #freeKeys(): void {
    clearTimeout(this.#freeing);
    const isWaiting = this.#workers.map((worker) => worker.freeKeys()).includes(true);
    this.#freeing = isWaiting ? setTimeout(() => this.#freeKeys(), FREE_KEYS_AGAIN_MS) : undefined;
  }

  #afterAcknowledgements(): void {
    for (let wait = this.#policyWaits[0]; wait !== undefined; wait = this.#policyWaits[0]) {
      const { sequences } = wait;
      if (!this.#workers.every((worker, index) => worker.applied >= sequences[index])) return;
      this.#policyWaits.shift();
      for (const resolve of wait.resolvers) resolve();
    }
  }

  #forgetRemote(peerId: number, peer: HostPeer): void {
    if (peer.remoteKey !== null && this.#remotes.get(peer.remoteKey) === peerId) this.#remotes.delete(peer.remoteKey);
  }

  #onThreadDeath(thread: number, error: Error): void {
    const { onFailure } = this.#options;
    if (onFailure === undefined)
      throw new InternalError(`Tunnel thread ${thread} died: ${error.message}`, { cause: error });
    onFailure(error);
  }
}

interface HostPeer {
  remoteKey: string | null;
  readonly keys: Map<number, number>;
  /** Sequence of the message that carries newPeer. */
  readonly madeBy: number;
}

interface PolicyWait {
  readonly epoch: number;
  readonly sequences: readonly number[];
  readonly resolvers: (() => void)[];
}

function readTraffic(table: Float64Array, slot: number): PeerTraffic {
  const at = slot * TRAFFIC_FIELDS;
  return {
    ingressBytes: table[at + Traffic.IngressBytes],
    ingressPackets: table[at + Traffic.IngressPackets],
    egressBytes: table[at + Traffic.EgressBytes],
    egressPackets: table[at + Traffic.EgressPackets],
    lastReceived: table[at + Traffic.LastReceived],
  };
}

/** The peer id that a DATA_V2 packet carries. */
function peerIdOn(packet: Uint8Array): number | undefined {
  if (packet.length < 4 || packet[0] >>> 3 !== OPCODE_DATA_V2) return undefined;
  const peerId = (packet[1] << 16) | (packet[2] << 8) | packet[3];
  return peerId === NO_PEER_ID ? undefined : peerId;
}

/** The bytes of an address row that name the remote. */
function keyOfRemote(remote: SocketAddressBytes): string {
  return Buffer.from(remote.buffer, remote.byteOffset, REMOTE_KEY_BYTES).toString('latin1');
}

const NO_TRAFFIC: PeerTraffic = {
  ingressBytes: 0,
  ingressPackets: 0,
  egressBytes: 0,
  egressPackets: 0,
  lastReceived: 0,
};
const FREE_KEYS_AGAIN_MS = 100;
const REMOTE_KEY_BYTES = 24;
const THREADS_MAX = 256;
const THREAD_MASK = 0xff;
const PEERS_MAX = 32_768;
const SPARE_SLOTS = 1024;
const SPARE_CONNECTIONS = 256;
