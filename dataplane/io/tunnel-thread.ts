import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { InternalError } from '../../net/errors.ts';
import type { TcpConnectionId } from '../data-channel.ts';
import { DropReason } from '../tunnel/drop-reason.ts';
import { Forwarder } from '../tunnel/forwarder.ts';
import type { ForwarderPort, InnerAccess, PeerEvent } from '../tunnel/forwarder-port.ts';
import { PacketBatch, PacketVerdict } from '../tunnel/packet-batch.ts';
import { AddressOwners, PeerTable } from '../tunnel/peer-table.ts';
import { WakePacing } from '../tunnel/wake-pacing.ts';
import { ThreadCounters } from '../tunnel/thread-counters.ts';
import { ControlOutbox } from './control-outbox.ts';
import type { NativeAddon } from './native-addon.ts';
import { RecordKind, type RecordRing, STRAY_BYTES_MAX } from './ring-record.ts';
import { TcpTransport } from './tcp-transport.ts';
import {
  Doorbell,
  recordRing,
  ThreadWord,
  type TunnelThreadStart,
  type TunnelVerb,
  type VerbMessage,
} from './thread-link.ts';
import { TunDevice } from './tun-device.ts';
import { UdpTransport } from './udp-transport.ts';

/**
 * One tunnel thread: its own loop around one native wait. Each turn gives every ready source one batch, reads what
 * other threads sent, and applies verbs in between; an idle thread sleeps in the kernel. It never logs.
 */
export class TunnelThread implements ForwarderPort {
  readonly #addon: NativeAddon;
  readonly #start: TunnelThreadStart;
  readonly #verbs: MessagePort;
  readonly #words: Int32Array;
  readonly #base: number;
  readonly #poll: number;
  readonly #tags = new Int32Array(EVENTS_PER_WAIT);
  readonly #events = new Uint8Array(EVENTS_PER_WAIT);
  readonly #counters: ThreadCounters;
  readonly #peers: PeerTable;
  readonly #forwarder: Forwarder;
  readonly #tun: TunDevice;
  readonly #udp: UdpTransport | undefined;
  readonly #tcp: TcpTransport | undefined;
  readonly #doorbells: readonly Doorbell[];
  readonly #out: readonly (RecordRing | undefined)[];
  readonly #in: readonly RecordRing[];
  readonly #control: ControlOutbox;
  /** Wire packets and inner packets that other threads handed over. */
  readonly #strays: PacketBatch;
  readonly #inner: PacketBatch;
  #innerCount = 0;
  #innerBytes = 0;
  readonly #unreportedCloses: { readonly connection: TcpConnectionId; readonly reason: string }[] = [];
  readonly #pacing = new WakePacing();
  /** Taken in this turn: packets of clients, and what was read from the TUN. */
  #packetsIn = 0;
  #reads = 0;
  #now = 0;
  #countersDue = 0;

  constructor(addon: NativeAddon, start: TunnelThreadStart, verbs: MessagePort) {
    const { thread, threads, shared } = start;
    this.#addon = addon;
    this.#start = start;
    this.#verbs = verbs;
    this.#words = new Int32Array(shared.words);
    this.#base = thread * ThreadWord.Count;
    this.#counters = new ThreadCounters(shared.counters[thread]);
    this.#peers = new PeerTable({
      thread,
      threads,
      slots: start.slots,
      owners: new AddressOwners(start.clientCidr, shared.owners),
      traffic: shared.traffic[thread],
    });
    this.#forwarder = new Forwarder({
      port: this,
      registry: addon,
      peers: this.#peers,
      counters: this.#counters,
      gatewayAddress: start.gatewayAddress,
      clientCidr: start.clientCidr,
    });
    this.#doorbells = shared.wakeups.map((_, index) => new Doorbell(shared, index, (fd) => addon.eventSignal(fd)));
    this.#out = shared.between[thread].map((ring) => (ring === null ? undefined : recordRing(ring)));
    this.#in = [
      recordRing(shared.fromControl[thread]),
      ...shared.between.flatMap((row) => (row[thread] === null ? [] : [recordRing(row[thread])])),
    ];
    this.#control = new ControlOutbox(
      recordRing(shared.known[thread]),
      recordRing(shared.stranger[thread]),
      this.#doorbells[threads],
      this.#counters,
    );
    this.#strays = new PacketBatch(addon, { slots: STRAY_SLOTS, bytes: STRAY_SLOTS * STRAY_BYTES_MAX });
    this.#inner = new PacketBatch(addon, {
      slots: INNER_SLOTS,
      bytes: INNER_BYTES,
      remotes: new Uint8Array(0),
    });

    this.#poll = addon.pollCreate();
    addon.pollAdd(this.#poll, shared.wakeups[thread], TAG_WAKEUP, false);
    this.#tun = new TunDevice(addon, start.tun);
    addon.pollAdd(this.#poll, start.tun, TAG_TUN, false);
    if (start.transport === 'udp') this.#udp = new UdpTransport(addon, start.socket);
    else this.#tcp = this.#tcpTransport();
    addon.pollAdd(this.#poll, start.socket, TAG_SOCKET, false);
  }

  /** Runs until told to stop. */
  run(): void {
    while (Atomics.load(this.#words, this.#base + ThreadWord.Stop) === 0) {
      const isPaced = this.#pause();
      const ready = this.#wait(isPaced);
      this.#now = this.#addon.monotonicMs();
      this.#applyVerbs();
      for (let i = 0; i < ready; i++) this.#serve(this.#tags[i], this.#events[i]);
      // The TUN comes last: what an acknowledgement just brought to it must not stay there through the next pause.
      if (isPaced) this.#serve(TAG_TUN, 0);
      for (const ring of this.#in) this.#receiveRecords(ring);
      this.#housekeep();
    }
    this.#tcp?.closeAll();
    this.#addon.close(this.#poll);
  }

  // ---- the loop ----

  /** Looks away for a moment if that is worth it. @returns whether it was. */
  #pause(): boolean {
    const pauseUs = this.#pacing.pauseAfter(this.#packetsIn, this.#reads, this.#now);
    this.#packetsIn = 0;
    this.#reads = 0;
    if (pauseUs === 0 || this.#hasWork()) return false;
    this.#addon.pause(pauseUs);
    return true;
  }

  /** Sleeps until there is something to do, but not after a pause. @returns how many sources are ready, named by `#tags` and `#events`. */
  #wait(isPaced: boolean): number {
    if (isPaced && this.#udp !== undefined) {
      // A socket that was worth a pause has something: asking costs as much as looking.
      this.#tags[0] = TAG_SOCKET;
      return 1;
    }
    const doorbell = this.#doorbells[this.#start.thread];
    doorbell.sleep();
    const waitMs = this.#hasWork() ? 0 : Math.ceil(this.#idleMs());
    const ready = this.#addon.pollWait(this.#poll, waitMs, this.#tags, this.#events);
    doorbell.wake();
    if (ready < 0) throw new InternalError(`Waiting failed: errno ${-ready}`);
    return ready;
  }

  #hasWork(): boolean {
    if (this.#verbsPosted() !== this.#verbsApplied()) return true;
    for (const ring of this.#in) {
      if (!ring.ring.isEmpty()) return true;
    }
    return false;
  }

  #idleMs(): number {
    const untilWalk = this.#forwarder.liveness.waitMs(this.#now);
    return this.#tcp === undefined ? untilWalk : Math.min(untilWalk, this.#tcp.waitMs(this.#now));
  }

  #serve(tag: number, events: number): void {
    switch (tag) {
      case TAG_WAKEUP:
        this.#addon.eventClear(this.#start.shared.wakeups[this.#start.thread]);
        return;
      case TAG_TUN: {
        const count = this.#tun.read();
        this.#reads += count;
        if (count > 0) this.#forwarder.network.receive(this.#tun.batch, count, this.#now);
        return;
      }
      case TAG_SOCKET: {
        this.#tcp?.accept();
        if (this.#udp === undefined) return;
        const count = this.#udp.receive();
        this.#packetsIn += count;
        if (count > 0) this.#forwarder.clients.receiveUdp(this.#udp.batch, count, this.#now);
        return;
      }
      default:
        this.#tcp?.serve(tag - FIRST_CONNECTION_TAG, events, this.#now);
    }
  }

  #housekeep(): void {
    this.#forwarder.liveness.scan(this.#now);
    this.#tcp?.expire(this.#now);
    for (let next = this.#unreportedCloses[0]; next !== undefined; next = this.#unreportedCloses[0]) {
      if (!this.#control.tcpClosed(next.connection, next.reason)) break;
      this.#unreportedCloses.shift();
    }
    if (this.#now >= this.#countersDue) {
      this.#countersDue = this.#now + COUNTERS_EVERY_MS;
      this.#addon.countersInto(this.#counters.native);
    }
  }

  // ---- verbs ----

  #verbsPosted(): number {
    return Atomics.load(this.#words, this.#base + ThreadWord.VerbsPosted);
  }

  #verbsApplied(): number {
    return Atomics.load(this.#words, this.#base + ThreadWord.VerbsApplied);
  }

  #applyVerbs(): void {
    if (this.#verbsPosted() === this.#verbsApplied()) return;
    let isAwaited = false;
    for (let got = receiveMessageOnPort(this.#verbs); got !== undefined; got = receiveMessageOnPort(this.#verbs)) {
      const message = got.message as VerbMessage; // Only the tunnel host holds the other end.
      for (const verb of message.verbs) this.#apply(verb);
      Atomics.store(this.#words, this.#base + ThreadWord.VerbsApplied, message.sequence);
      isAwaited ||= message.isAwaited;
    }
    if (isAwaited) this.#doorbells[this.#start.threads].ring();
  }

  #apply(verb: TunnelVerb): void {
    const peers = this.#peers;
    if (verb.verb === 'setPolicy') {
      this.#forwarder.setPolicy(verb.policy.shared);
    } else if (verb.verb === 'newPeer') {
      const { transport, peerId } = verb.peer;
      const slot = peerId >>> peers.threadBits;
      const connection = transport.kind === 'tcp' ? (this.#tcp?.attach(transport.connection, slot) ?? -1) : -1;
      if (peers.add(verb.peer, connection, this.#now) >= 0) this.#forwarder.liveness.notePeer(slot);
    } else if (verb.verb === 'closeTcp') {
      this.#tcp?.closeGently(verb.connection, this.#now);
    } else {
      const slot = peers.slotOf(verb.peerId);
      if (slot >= 0) this.#applyToPeer(verb, slot);
    }
  }

  #applyToPeer(verb: Exclude<TunnelVerb, { verb: 'setPolicy' | 'newPeer' | 'closeTcp' }>, slot: number): void {
    const { keys } = this.#peers;
    switch (verb.verb) {
      case 'setRemote':
        this.#peers.setRemote(slot, verb.remote);
        return;
      case 'setGroups':
        this.#peers.setGroups(slot, verb.groups);
        return;
      case 'deletePeer':
        if (this.#peers.connection[slot] >= 0) this.#tcp?.detach(this.#peers.connection[slot]);
        this.#peers.remove(slot);
        return;
      case 'newKey':
        if (!keys.install(slot, verb.keyId, verb.handle, verb.slot, this.#now + KEY_SWITCH_MS)) {
          throw new InternalError(`Peer ${verb.peerId} has no room for key ${verb.keyId}`);
        }
        return;
      case 'swapKeys':
        keys.promote(slot);
        return;
      case 'deleteKey':
        keys.remove(slot, verb.keyId);
        return;
    }
  }

  // ---- records from other threads ----

  #receiveRecords(from: RecordRing): void {
    let strays = 0;
    this.#innerCount = 0;
    this.#innerBytes = 0;
    for (let taken = 0; taken < RECORDS_PER_TURN; taken++) {
      const kind = from.next();
      if (kind === 0) break;
      if (kind === RecordKind.TransmitTcp) this.#tcp?.transmitControl(from.connection, from.copyPayload());
      else if (kind === RecordKind.CloseTcp) this.#tcp?.closeGently(from.connection, this.#now);
      else if (kind === RecordKind.Wire) this.#takeStray(from, strays++);
      else if (kind === RecordKind.InnerChecked) this.#takeInner(from, PacketVerdict.ToClient);
      else if (kind === RecordKind.InnerUnchecked) this.#takeInner(from, PacketVerdict.Pending);
      from.ring.release();
    }
    if (strays > 0) this.#forwarder.clients.receiveStrays(this.#strays, strays, this.#now);
    this.#flushInner();
  }

  #takeStray(from: RecordRing, slot: number): void {
    const batch = this.#strays;
    const at = slot * STRAY_BYTES_MAX;
    batch.setPlain(slot, at, from.payloadBytes);
    batch.peer[slot] = from.peer;
    batch.verdict[slot] = PacketVerdict.Pending;
    batch.key[slot] = -1;
    from.readPayload(batch.bytes, at);
    from.readRemote(batch.remoteWords, slot);
  }

  #takeInner(from: RecordRing, verdict: number): void {
    const batch = this.#inner;
    if (this.#innerCount === batch.slots || this.#innerBytes + from.payloadBytes > batch.bytes.length)
      this.#flushInner();
    const slot = this.#innerCount++;
    batch.offset[slot] = this.#innerBytes;
    batch.length[slot] = from.payloadBytes;
    batch.verdict[slot] = verdict;
    from.readOffload(batch, slot);
    from.readPayload(batch.bytes, this.#innerBytes);
    this.#innerBytes += (from.payloadBytes + 7) & ~7;
  }

  #flushInner(): void {
    if (this.#innerCount > 0) this.#forwarder.network.receive(this.#inner, this.#innerCount, this.#now);
    this.#innerCount = 0;
    this.#innerBytes = 0;
  }

  // ---- ForwarderPort ----

  open(batch: PacketBatch, count: number): void {
    this.#addon.open(batch.handle, count);
  }

  seal(input: PacketBatch, from: number, count: number, output: PacketBatch): number {
    return this.#addon.seal(input.handle, from, count, output.handle);
  }

  keyUsage(handle: number, out: Float64Array): void {
    this.#addon.keyUsage(handle, out);
  }

  writeNetwork(batch: PacketBatch, count: number): void {
    this.#tun.write(batch, count);
  }

  transmit(output: PacketBatch, count: number): void {
    if (this.#udp !== undefined) this.#udp.send(output, count);
    else this.#tcp?.send(output, count);
  }

  passWire(peerId: number, batch: PacketBatch, slot: number): boolean {
    const thread = this.#peers.threadOf(peerId);
    const ring = this.#out[thread];
    if (ring === undefined || batch.length[slot] > STRAY_BYTES_MAX) return false;
    if (!ring.begin(RecordKind.Wire, batch.length[slot])) return false;
    ring.setPeer(peerId, 0, 0);
    ring.setRemote(batch.remoteWords, batch.source[slot]);
    this.#send(ring, batch, slot, this.#doorbells[thread]);
    return true;
  }

  passInner(peerId: number, batch: PacketBatch, slot: number, access: InnerAccess): boolean {
    const thread = this.#peers.threadOf(peerId);
    const ring = this.#out[thread];
    const kind = access === 'Checked' ? RecordKind.InnerChecked : RecordKind.InnerUnchecked;
    if (ring === undefined || !ring.begin(kind, batch.length[slot])) return false;
    ring.setPeer(peerId, 0, 0);
    ring.setOffload(batch, slot);
    this.#send(ring, batch, slot, this.#doorbells[thread]);
    return true;
  }

  passUnowned(batch: PacketBatch, slot: number): void {
    if (!this.#control.unowned(batch, slot)) this.#counters.drop(DropReason.RingFull);
  }

  /**
   * A datagram that finds no room is lost, as on any full link: the reliability layer sends it again. Nobody repeats a frame of
   * a stream, so its client is to come again at once instead of waiting for an answer until its patience ends.
   */
  passControl(batch: PacketBatch, slot: number, connection: number, standing: 'known' | 'stranger'): void {
    if (connection < 0) {
      this.#control.datagram(batch, slot, standing);
      return;
    }
    const id = this.#tcp?.idAt(connection);
    if (id === undefined || this.#control.frame(batch, slot, id, standing)) return;
    this.closeStream(connection, 'control thread behind');
  }

  notify(event: PeerEvent, peer: number, keyId: number): boolean {
    return this.#control.peerEvent(event, this.#peers.peerIdOf(peer), this.#peers.generation[peer], keyId);
  }

  notifyFloat(peer: number, batch: PacketBatch, row: number): boolean {
    const generation = this.#peers.generation[peer];
    return this.#control.floated(this.#peers.peerIdOf(peer), generation, batch.remoteWords, row);
  }

  closeStream(connection: number, reason: string): void {
    this.#tcp?.closeNow(connection, reason);
  }

  #send(ring: RecordRing, batch: PacketBatch, slot: number, doorbell: Doorbell): void {
    ring.setPayload(batch.bytes, batch.offset[slot], batch.length[slot]);
    ring.ring.publish();
    doorbell.ring();
  }

  // ---- TCP ----

  #tcpTransport(): TcpTransport {
    const { thread, tunMtu, maxConnections, socket } = this.#start;
    const transport = new TcpTransport({
      addon: this.#addon,
      listener: socket,
      poll: this.#poll,
      listenerTag: TAG_SOCKET,
      firstTag: FIRST_CONNECTION_TAG,
      thread,
      maxConnections,
      tunMtu,
      peers: this.#peers,
      counters: this.#counters,
      events: {
        opened: (connection, remote) => this.#control.tcpOpened(connection, remote),
        closed: (connection, reason) => {
          if (!this.#control.tcpClosed(connection, reason)) this.#unreportedCloses.push({ connection, reason });
        },
        refused: (reason, remote, count) => this.#control.tcpRefused(reason, remote, count),
        frames: (count, index, peer) => {
          this.#packetsIn += count;
          this.#forwarder.clients.receiveTcp(transport.batch, count, index, peer, this.#now);
        },
      },
    });
    return transport;
  }
}

const TAG_WAKEUP = 0;
const TAG_TUN = 1;
const TAG_SOCKET = 2;
const FIRST_CONNECTION_TAG = 16;
const EVENTS_PER_WAIT = 64;
const RECORDS_PER_TURN = 64;
const STRAY_SLOTS = RECORDS_PER_TURN;
const INNER_SLOTS = RECORDS_PER_TURN;
const INNER_BYTES = 8 * 65_536;
const COUNTERS_EVERY_MS = 250;
/** Longer than a key waits for proof that its client has it (sessions/renewal.ts): the one it has none for is deleted by then. */
const KEY_SWITCH_MS = 120_000;
