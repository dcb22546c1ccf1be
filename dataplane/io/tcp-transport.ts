import { addressBlock } from '../../net/address-block.ts';
import { Tally } from '../../net/tally.ts';
import type { TcpConnectionId, TcpRefusal } from '../data-channel.ts';
import { DropReason } from '../tunnel/drop-reason.ts';
import { PacketBatch } from '../tunnel/packet-batch.ts';
import type { PeerTable } from '../tunnel/peer-table.ts';
import { Counter, type ThreadCounters } from '../tunnel/thread-counters.ts';
import { isDataOpcode, opcodeOf } from '../protocol/opcode.ts';
import { ControlPace } from './control-pace.ts';
import type { NativeAddon } from './native-addon.ts';
import { TcpListener } from './tcp-listener.ts';
import { TcpSendQueue } from './tcp-send-queue.ts';

/** What happens on the connections of one thread. */
export interface TcpEvents {
  /** @returns false when the control thread cannot be told: the connection is then refused. */
  opened(connection: TcpConnectionId, remote: Uint8Array): boolean;
  closed(connection: TcpConnectionId, reason: string): void;
  /** @returns false when the control thread cannot be told now: it is tried again. */
  refused(reason: TcpRefusal, remote: Uint8Array, count: number): boolean;
  /** Whole frames of one connection, in order, in the transport's batch. */
  frames(count: number, connectionIndex: number, peer: number): void;
}

export interface TcpTransportOptions {
  readonly addon: NativeAddon;
  readonly listener: number;
  readonly poll: number;
  readonly listenerTag: number;
  /** Tag of connection 0 in the poll set. */
  readonly firstTag: number;
  readonly thread: number;
  readonly maxConnections: number;
  readonly tunMtu: number;
  readonly peers: PeerTable;
  readonly counters: ThreadCounters;
  readonly events: TcpEvents;
}

/**
 * One thread's TCP connections: accepts, cuts streams into frames, and queues what a slow client does not take.
 * A connection costs a few kilobytes until its client has logged in, whatever it sends or does not send.
 */
export class TcpTransport {
  readonly batch: PacketBatch;
  readonly #options: TcpTransportOptions;
  readonly #frameBytesMax: number;
  readonly #connections: (Connection | undefined)[] = [];
  readonly #freeIndices: number[] = [];
  readonly #indexOf = new Map<TcpConnectionId, number>();
  readonly #perSubscriber = new Tally();
  readonly #closing = new Set<Connection>();
  /** Not read for a while: they talked too much. */
  readonly #paused = new Set<Connection>();
  readonly #listener: TcpListener;
  #nextId = 1;

  constructor(options: TcpTransportOptions) {
    this.#options = options;
    this.#listener = new TcpListener({
      ...options,
      admit: (fd, remote) => this.#admit(fd, remote),
      report: (reason, remote, count) => options.events.refused(reason, remote, count),
    });
    this.#frameBytesMax = CONTROL_BYTES_MAX + options.tunMtu;
    this.batch = new PacketBatch(options.addon, {
      slots: FRAMES_PER_READ,
      bytes: PREFIX_BYTES + this.#frameBytesMax + READ_BYTES,
      remotes: new Uint8Array(0),
    });
  }

  accept(): void {
    this.#listener.accept();
  }

  /** Serves one connection that the poll set named. */
  serve(index: number, events: number, now: number): void {
    const connection = this.#connections[index];
    if (connection === undefined) return;
    if ((events & POLL_WRITABLE) !== 0) this.#drain(connection);
    if ((events & (POLL_READABLE | POLL_HANGUP)) !== 0 && !connection.isClosed) this.#receive(connection, now);
  }

  /** Sends sealed slots: whole frames, one run of neighbours for each connection and write. */
  send(output: PacketBatch, count: number): void {
    let slot = 0;
    while (slot < count) {
      const peer = output.peer[slot];
      let end = slot + 1;
      while (end < count && output.peer[end] === peer) end++;
      this.#sendFrames(output, slot, end, this.#options.peers.connection[peer]);
      slot = end;
    }
  }

  transmitControl(id: TcpConnectionId, bytes: Uint8Array): void {
    const connection = this.#find(id);
    if (connection === undefined || connection.closeAt > 0) return;
    connection.queue.pushControl(bytes);
    this.#drain(connection);
    if (connection.queue.unsentBytes > UNSENT_BYTES_MAX) this.#close(connection, 'client does not read');
  }

  /** Closes once the queue is empty, at most CLOSE_WITHIN_MS from now. */
  closeGently(id: TcpConnectionId, now: number): void {
    const connection = this.#find(id);
    if (connection === undefined || connection.closeAt > 0) return;
    connection.closeAt = now + CLOSE_WITHIN_MS;
    if (connection.queue.isEmpty) this.#close(connection, 'closed by gateway');
    else this.#closing.add(connection);
  }

  closeNow(index: number, reason: string): void {
    const connection = this.#connections[index];
    if (connection !== undefined) this.#close(connection, reason);
  }

  idAt(index: number): TcpConnectionId | undefined {
    return this.#connections[index]?.id;
  }

  /** @returns the index of a live connection, −1. */
  attach(id: TcpConnectionId, peer: number): number {
    const connection = this.#find(id);
    if (connection === undefined) return -1;
    connection.peer = peer;
    return connection.index;
  }

  detach(index: number): void {
    const connection = this.#connections[index];
    if (connection !== undefined) connection.peer = -1;
  }

  /** Milliseconds until `expire` has something to do that cannot wait; Infinity for nothing. */
  waitMs(now: number): number {
    let wait = Infinity;
    for (const { pausedUntil } of this.#paused) wait = Math.min(wait, pausedUntil - now);
    return Math.max(0, wait);
  }

  /** Does what is due: connections to close or to read again by now, and accepting again after a pause. */
  expire(now: number): void {
    this.#listener.expire(now);
    for (const connection of this.#paused) {
      if (now < connection.pausedUntil) continue;
      this.#paused.delete(connection);
      const { addon, poll, firstTag } = this.#options;
      addon.pollAdd(poll, connection.fd, firstTag + connection.index, connection.waitsForRoom);
    }
    for (const connection of this.#closing) {
      if (now >= connection.closeAt) this.#close(connection, 'closed by gateway');
    }
  }

  closeAll(): void {
    for (const connection of this.#connections) {
      if (connection !== undefined) this.#close(connection, 'gateway stopped');
    }
    this.#listener.close();
  }

  /** Takes a connection over. @returns why it can't be. */
  #admit(fd: number, remote: Uint8Array): TcpRefusal | undefined {
    const { addon, thread, maxConnections, counters, events } = this.#options;
    const subscriber = addressBlock(addon.formatAddress(remote).address, 32, 64);
    const id = this.#nextId * 256 + thread;
    const index = this.#freeIndices.at(-1) ?? this.#connections.length;
    if (this.#indexOf.size >= maxConnections) return 'too-many-tcp-connections';
    if (this.#perSubscriber.of(subscriber) >= CONNECTIONS_PER_SUBSCRIBER)
      return 'too-many-tcp-connections-of-one-subscriber';
    if (!this.#watch(fd, index)) return 'no-kernel-memory-left';
    if (!events.opened(id, remote)) return 'control-thread-behind';
    this.#nextId++;
    this.#freeIndices.pop();
    const frameBytes = PREFIX_BYTES + this.#frameBytesMax;
    this.#connections[index] = new Connection(fd, id, index, subscriber, frameBytes);
    this.#indexOf.set(id, index);
    this.#perSubscriber.add(subscriber);
    counters.count(Counter.TcpAccepted);
    return undefined;
  }

  /** @returns false when the kernel can't watch another descriptor. */
  #watch(fd: number, index: number): boolean {
    const { addon, poll, firstTag } = this.#options;
    try {
      addon.pollAdd(poll, fd, firstTag + index, false);
      return true;
    } catch {
      return false;
    }
  }

  #receive(connection: Connection, now: number): void {
    const { bytes } = this.batch;
    const kept = connection.partialBytes;
    if (kept > 0) bytes.set(connection.partial.subarray(0, kept), 0);
    const most = connection.peer < 0 ? OPENING_READ_BYTES : READ_BYTES;
    const got = this.#options.addon.tcpReceive(connection.fd, bytes, kept, most);
    if (got === -EAGAIN) return;
    if (got <= 0) {
      this.#close(connection, got === 0 ? 'closed by client' : `receive failed: errno ${-got}`);
      return;
    }
    // What still comes while we say goodbye is read, so that the socket does not stay readable, and forgotten.
    if (connection.closeAt > 0) return;
    const pauseMs = connection.pace.pauseAfter(this.#cut(connection, kept + got), now);
    if (pauseMs > 0 && !connection.isClosed) this.#pause(connection, now + pauseMs);
  }

  /** What it sends meanwhile stays in its socket, and soon with the sender. */
  #pause(connection: Connection, until: number): void {
    this.#options.addon.pollRemove(this.#options.poll, connection.fd);
    connection.pausedUntil = until;
    this.#paused.add(connection);
  }

  /** Cuts the first `end` bytes of the batch into frames; what is left waits for the next read. @returns control frames. */
  #cut(connection: Connection, end: number): number {
    const { batch } = this;
    const { bytes } = batch;
    let at = 0;
    let count = 0;
    let controlFrames = 0;
    while (end - at >= PREFIX_BYTES) {
      const length = (bytes[at] << 8) | bytes[at + 1];
      if (length === 0 || length > this.#frameBytesMax) {
        this.#deliver(connection, count);
        this.#close(connection, `frame length ${length} is out of range`);
        return controlFrames;
      }
      if (end - at - PREFIX_BYTES < length) break;
      if (!isDataOpcode(opcodeOf(bytes[at + PREFIX_BYTES]))) controlFrames++;
      if (controlFrames > CONTROL_FRAMES_PER_READ) {
        this.#close(connection, 'too many control frames at once');
        return controlFrames;
      }
      batch.setPlain(count, at + PREFIX_BYTES, length);
      batch.verdict[count] = 0;
      batch.source[count] = 0;
      count++;
      at += PREFIX_BYTES + length;
      if (count === batch.slots) {
        this.#deliver(connection, count);
        count = 0;
      }
    }
    // Taken before delivery: packets are opened in place, and a refusal may reach this connection's own queue.
    connection.keep(bytes, at, end);
    this.#deliver(connection, count);
    return controlFrames;
  }

  #deliver(connection: Connection, count: number): void {
    if (count > 0 && !connection.isClosed) this.#options.events.frames(count, connection.index, connection.peer);
  }

  #sendFrames(output: PacketBatch, from: number, to: number, index: number): void {
    const connection = this.#connections[index];
    if (connection === undefined || connection.closeAt > 0) return;
    const { queue } = connection;
    let slot = from;
    if (queue.isEmpty) {
      const start = output.offset[from];
      const length = output.offset[to - 1] + output.length[to - 1] - start;
      const sent = this.#write(connection, output.bytes, start, length);
      if (sent < 0) {
        this.#close(connection, 'send failed');
        return;
      }
      let left = sent;
      while (slot < to && left >= output.length[slot]) left -= output.length[slot++];
      if (slot === to) return;
      if (left > 0) {
        queue.pushRest(output.bytes, output.offset[slot] + left, output.length[slot] - left);
        slot++;
      }
    }
    for (; slot < to; slot++) {
      if (!queue.pushData(output.bytes, output.offset[slot], output.length[slot])) {
        this.#options.counters.drop(DropReason.TcpQueueFull);
      }
    }
    this.#watchWritable(connection, true);
  }

  #drain(connection: Connection): void {
    const outcome = connection.queue.drain((bytes, offset, length) => this.#write(connection, bytes, offset, length));
    if (outcome === 'failed') this.#close(connection, 'send failed');
    else if (outcome === 'empty' && connection.closeAt > 0) this.#close(connection, 'closed by gateway');
    else this.#watchWritable(connection, outcome === 'blocked');
  }

  /** @returns bytes taken; 0 when the socket is full, −1 when it is dead. */
  #write(connection: Connection, bytes: Uint8Array, offset: number, length: number): number {
    const sent = this.#options.addon.tcpSend(connection.fd, bytes, offset, length);
    if (sent >= 0) return sent;
    return sent === -EAGAIN ? 0 : -1;
  }

  #watchWritable(connection: Connection, wanted: boolean): void {
    if (connection.waitsForRoom === wanted) return;
    connection.waitsForRoom = wanted;
    if (this.#paused.has(connection)) return;
    const { addon, poll, firstTag } = this.#options;
    addon.pollModify(poll, connection.fd, firstTag + connection.index, wanted);
  }

  #find(id: TcpConnectionId): Connection | undefined {
    const index = this.#indexOf.get(id);
    return index === undefined ? undefined : this.#connections[index];
  }

  #close(connection: Connection, reason: string): void {
    if (connection.isClosed) return;
    connection.isClosed = true;
    const { addon, poll, peers, counters, events } = this.#options;
    if (!this.#paused.delete(connection)) addon.pollRemove(poll, connection.fd);
    addon.close(connection.fd);
    if (connection.peer >= 0) peers.connection[connection.peer] = -1;
    this.#connections[connection.index] = undefined;
    this.#freeIndices.push(connection.index);
    this.#indexOf.delete(connection.id);
    this.#closing.delete(connection);
    this.#perSubscriber.remove(connection.subscriber);
    counters.count(Counter.TcpClosed);
    events.closed(connection.id, reason);
  }
}

class Connection {
  readonly fd: number;
  readonly id: TcpConnectionId;
  readonly index: number;
  readonly subscriber: string;
  readonly queue: TcpSendQueue;
  readonly pace = new ControlPace();
  partial = NOTHING;
  partialBytes = 0;
  peer = -1;
  waitsForRoom = false;
  /** 0: not closing. */
  closeAt = 0;
  isClosed = false;
  pausedUntil = 0;
  readonly #frameBytes: number;

  constructor(fd: number, id: TcpConnectionId, index: number, subscriber: string, frameBytes: number) {
    this.fd = fd;
    this.id = id;
    this.index = index;
    this.subscriber = subscriber;
    this.queue = new TcpSendQueue(frameBytes);
    this.#frameBytes = frameBytes;
  }

  /** Keeps the beginning of a frame; never more than one frame, since longer ones close the connection. */
  keep(bytes: Uint8Array, from: number, to: number): void {
    this.partialBytes = to - from;
    if (this.partialBytes === 0) return;
    if (this.partial.length === 0) this.partial = new Uint8Array(this.#frameBytes);
    for (let i = from; i < to; i++) this.partial[i - from] = bytes[i];
  }
}

const NOTHING = new Uint8Array(0);
const PREFIX_BYTES = 2;
const CONTROL_BYTES_MAX = 2048;
const READ_BYTES = 65_536;
/** Before a login: a handful of control frames of full size. */
const OPENING_READ_BYTES = 8_192;
/** More than a client can have under way, sent twice. */
const CONTROL_FRAMES_PER_READ = 64;
const FRAMES_PER_READ = 256;
/** Offices behind one address exist; a thousand half-open logins from one do not. */
const CONNECTIONS_PER_SUBSCRIBER = 256;
const UNSENT_BYTES_MAX = 1024 * 1024;
const CLOSE_WITHIN_MS = 5_000;
const POLL_READABLE = 1;
const POLL_WRITABLE = 2;
const POLL_HANGUP = 4;
const EAGAIN = 11;
