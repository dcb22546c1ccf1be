import assert from 'node:assert/strict';
import type { NativeAddon } from '../../dataplane/io/native-addon.ts';
import { TcpTransport } from '../../dataplane/io/tcp-transport.ts';
import { AddressOwners, PeerTable, TRAFFIC_FIELDS } from '../../dataplane/tunnel/peer-table.ts';
import { THREAD_COUNTER_BYTES, ThreadCounters } from '../../dataplane/tunnel/thread-counters.ts';
import { prefix } from './prefixes.ts';

/** A kernel with one connection: what its client has sent, what it takes, and the poll set, which is as strict as epoll. */
export class FakeTcpKernel {
  static readonly TUN_MTU = 1500;
  static readonly FD = 7;
  readonly transport: TcpTransport;
  readonly closed: string[] = [];
  readonly packets: Uint8Array[] = [];
  readMost = 0;
  takes = true;
  /** Whether each descriptor also waits for room. */
  readonly polled = new Map<number, boolean>();
  #sent = Buffer.alloc(0);
  #waiting = 1;

  constructor() {
    const addon = {
      registerBatch: () => 0,
      formatAddress: () => ({ family: 4, address: '192.0.2.1', port: 5000 }),
      tcpAccept: () => (this.#waiting-- > 0 ? FakeTcpKernel.FD : -EAGAIN),
      tcpReceive: (_fd: number, into: Uint8Array, offset: number, length: number) => this.#read(into, offset, length),
      tcpSend: (_fd: number, _from: Uint8Array, _offset: number, length: number) => (this.takes ? length : -EAGAIN),
      pollAdd: (_poll: number, fd: number, _tag: number, write: boolean) => {
        assert.ok(!this.polled.has(fd), 'EEXIST');
        this.polled.set(fd, write);
      },
      pollModify: (_poll: number, fd: number, _tag: number, write: boolean) => {
        assert.ok(this.polled.has(fd), 'ENOENT');
        this.polled.set(fd, write);
      },
      pollRemove: (_poll: number, fd: number) => assert.ok(this.polled.delete(fd), 'ENOENT'),
      close: () => undefined,
      eventCreate: () => 900,
    };
    this.transport = new TcpTransport({
      // What the transport does not call is left out.
      addon: addon as unknown as NativeAddon,
      listener: 3,
      poll: 4,
      listenerTag: 2,
      firstTag: 16,
      thread: 0,
      maxConnections: 10,
      tunMtu: FakeTcpKernel.TUN_MTU,
      peers: new PeerTable({
        thread: 0,
        threads: 1,
        slots: 4,
        owners: new AddressOwners(prefix('10.8.0.0/22'), new SharedArrayBuffer(4096)),
        traffic: new SharedArrayBuffer(5 * TRAFFIC_FIELDS * 8),
      }),
      counters: new ThreadCounters(new SharedArrayBuffer(THREAD_COUNTER_BYTES)),
      events: {
        opened: () => true,
        closed: (_connection, reason) => void this.closed.push(reason),
        refused: () => true,
        frames: (count) => this.#take(count),
      },
    });
    this.transport.accept();
  }

  get isRead(): boolean {
    return this.polled.has(FakeTcpKernel.FD);
  }

  /** The client sends `count` frames, which are read at once if anybody looks. */
  send(frame: Uint8Array, count: number, now: number): void {
    this.#sent = Buffer.concat([this.#sent, ...Array.from({ length: count }, () => frame)]);
    this.serve(now);
  }

  serve(now: number): void {
    if (this.isRead && this.#sent.length > 0) this.transport.serve(0, READABLE, now);
  }

  #take(count: number): void {
    const { bytes, offset, length } = this.transport.batch;
    for (let slot = 0; slot < count; slot++) this.packets.push(bytes.slice(offset[slot], offset[slot] + length[slot]));
  }

  #read(into: Uint8Array, offset: number, length: number): number {
    this.readMost = Math.max(this.readMost, length);
    const got = this.#sent.copy(into, offset, 0, length);
    this.#sent = this.#sent.subarray(got);
    return got === 0 ? -EAGAIN : got;
  }
}

const EAGAIN = 11;
const READABLE = 1;
