import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { NativeAddon } from '../../../../dataplane/io/native-addon.ts';
import { TcpTransport } from '../../../../dataplane/io/tcp-transport.ts';
import { AddressOwners, PeerTable, TRAFFIC_FIELDS } from '../../../../dataplane/tunnel/peer-table.ts';
import { THREAD_COUNTER_BYTES, ThreadCounters } from '../../../../dataplane/tunnel/thread-counters.ts';
import { prefix } from '../../../support/prefixes.ts';

const EAGAIN = 11;
const FD = 7;
const READABLE = 1;
const CONTROL = Uint8Array.of(0, 3, 0x28, 1, 2);
const DATA = Uint8Array.of(0, 3, 0x48, 1, 2);

/** A kernel with one connection: what its client has sent, what it takes, and the poll set, which is as strict as epoll. */
class FakeKernel {
  readonly transport: TcpTransport;
  readonly closed: string[] = [];
  frames = 0;
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
      tcpAccept: () => (this.#waiting-- > 0 ? FD : -EAGAIN),
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
      tunMtu: 1500,
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
        frames: (count) => void (this.frames += count),
      },
    });
    this.transport.accept();
  }

  get isRead(): boolean {
    return this.polled.has(FD);
  }

  /** The client sends `count` frames, which are read at once if anybody looks. */
  send(frame: Uint8Array, count: number, now: number): void {
    this.#sent = Buffer.concat([this.#sent, ...Array.from({ length: count }, () => frame)]);
    this.serve(now);
  }

  serve(now: number): void {
    if (this.isRead && this.#sent.length > 0) this.transport.serve(0, READABLE, now);
  }

  #read(into: Uint8Array, offset: number, length: number): number {
    this.readMost = Math.max(this.readMost, length);
    const got = this.#sent.copy(into, offset, 0, length);
    this.#sent = this.#sent.subarray(got);
    return got === 0 ? -EAGAIN : got;
  }
}

suite('TCP transport', () => {
  test('who talks too much is not read for a while, and loses nothing that was said', () => {
    const kernel = new FakeKernel();
    for (let read = 0; read < 4; read++) kernel.send(CONTROL, 40, 1000);
    assert.equal(kernel.frames, 160);
    assert.equal(kernel.isRead, false);
    kernel.send(CONTROL, 20, 1000);
    const wait = kernel.transport.waitMs(1000);
    assert.ok(wait > 0 && wait < 1000, `${wait} ms`);
    kernel.transport.expire(1000 + wait - 1);
    assert.equal(kernel.isRead, false);
    kernel.transport.expire(1000 + wait);
    assert.equal(kernel.isRead, true);
    assert.equal(kernel.transport.waitMs(1000 + wait), Infinity);
    kernel.serve(1000 + wait);
    assert.equal(kernel.frames, 180);
    assert.deepEqual(kernel.closed, []);
  });

  test('more control frames in one breath than a client can have under way end the connection', () => {
    const kernel = new FakeKernel();
    kernel.send(CONTROL, 65, 0);
    assert.deepEqual([kernel.frames, kernel.closed], [0, ['too many control frames at once']]);
    assert.equal(kernel.isRead, false);
  });

  test('data is never paced', () => {
    const kernel = new FakeKernel();
    kernel.send(DATA, 1_600, 0);
    for (let read = 0; read < 10; read++) kernel.send(CONTROL, 10, 0);
    assert.equal(kernel.frames, 1_700);
    assert.ok(kernel.isRead);
  });

  test('before a login little is read at once, after it much', () => {
    const kernel = new FakeKernel();
    kernel.send(DATA, 1, 0);
    assert.equal(kernel.readMost, 8_192);
    kernel.transport.attach(256, 0);
    kernel.send(DATA, 1, 0);
    assert.equal(kernel.readMost, 65_536);
  });

  test('a connection that is not read can still be written to and closed', () => {
    const kernel = new FakeKernel();
    for (let read = 0; read < 4; read++) kernel.send(CONTROL, 40, 0);
    kernel.takes = false;
    kernel.transport.transmitControl(256, new Uint8Array(10));
    kernel.transport.expire(kernel.transport.waitMs(0));
    assert.deepEqual([...kernel.polled].at(-1), [FD, true], 'what waited for room goes on to');
    for (let read = 0; read < 4; read++) kernel.send(CONTROL, 40, 0);
    assert.equal(kernel.isRead, false);
    kernel.transport.closeNow(0, 'for a test');
    assert.deepEqual(kernel.closed, ['for a test']);
    assert.equal(kernel.transport.waitMs(0), Infinity);
  });
});
