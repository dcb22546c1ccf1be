import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TcpRefusal } from '../../../../dataplane/data-channel.ts';
import { loadAddon } from '../../../../dataplane/io/load-addon.ts';
import type { NativeAddon } from '../../../../dataplane/io/native-addon.ts';
import { TcpTransport } from '../../../../dataplane/io/tcp-transport.ts';
import { AddressOwners, PeerTable } from '../../../../dataplane/tunnel/peer-table.ts';
import { Counter, THREAD_COUNTER_BYTES, ThreadCounters } from '../../../../dataplane/tunnel/thread-counters.ts';
import { InternalError } from '../../../../net/errors.ts';
import { CLIENT_CIDR } from '../../../support/tunnel-lab.ts';

const LISTENER = 7;
const POLL = 8;
const ERRNO = { EAGAIN: 11, ENOMEM: 12, EINVAL: 22, ENFILE: 23, EMFILE: 24, ECONNABORTED: 103, ENOBUFS: 105 };

/** A transport over a kernel that answers as a test says. */
class Kernel {
  readonly transport: TcpTransport;
  readonly counters = new ThreadCounters(new SharedArrayBuffer(THREAD_COUNTER_BYTES));
  readonly told: { readonly reason: TcpRefusal; readonly count: number; readonly from: string }[] = [];
  readonly opened: number[] = [];
  readonly closed: number[] = [];
  /** What accept answers, one after the other; then there is nobody left. */
  accepts: number[] = [];
  hasSpares = true;
  canWatch = true;
  isListening = true;
  isControlBehind = false;
  now = 1_000;
  #nextSpare = 900;

  constructor() {
    const real = loadAddon();
    const addon: NativeAddon = {
      ...real,
      monotonicMs: () => this.now,
      tcpAccept: (_listener, remote) => {
        const fd = this.accepts.shift() ?? -ERRNO.EAGAIN;
        if (fd >= 0) remote.set(real.parseAddress('192.0.2.1', fd));
        return fd;
      },
      eventCreate: () => {
        if (!this.hasSpares) throw new Error('eventfd: EMFILE');
        return this.#nextSpare++;
      },
      close: (fd) => void this.closed.push(fd),
      pollAdd: (_poll, fd) => {
        if (fd === LISTENER) this.isListening = true;
        else if (!this.canWatch) throw new Error('epoll_ctl: ENOSPC');
      },
      pollRemove: (_poll, fd) => {
        if (fd === LISTENER) this.isListening = false;
      },
    };
    this.transport = new TcpTransport({
      addon,
      listener: LISTENER,
      poll: POLL,
      listenerTag: 2,
      firstTag: 16,
      thread: 0,
      maxConnections: 4,
      tunMtu: 1500,
      peers: new PeerTable({
        thread: 0,
        threads: 1,
        slots: 8,
        owners: new AddressOwners(CLIENT_CIDR, new SharedArrayBuffer(4 * 1024)),
        traffic: new SharedArrayBuffer(4096),
      }),
      counters: this.counters,
      events: {
        opened: (connection) => this.opened.push(connection) > 0,
        closed: () => undefined,
        refused: (reason, remote, count) => {
          if (!this.isControlBehind) this.told.push({ reason, count, from: real.formatAddress(remote).address });
          return !this.isControlBehind;
        },
        frames: () => undefined,
      },
    });
  }

  /** One turn of the tunnel thread in which so many connections wait to be accepted. */
  turn(...accepts: readonly number[]): void {
    this.accepts.push(...accepts);
    if (this.isListening) this.transport.accept();
    this.transport.expire(this.now);
  }
}

for (const limit of ['EMFILE', 'ENFILE'] as const) {
  test(`without a descriptor left (${limit}) a connection is closed at once, named, and those before it stay`, () => {
    const kernel = new Kernel();
    kernel.turn(50, -ERRNO[limit], 51);
    assert.equal(kernel.opened.length, 1);
    assert.deepEqual(kernel.closed, [900, 51]);
    assert.deepEqual(kernel.told, [{ reason: 'no-descriptor-left', count: 1, from: '192.0.2.1' }]);
    assert.equal(kernel.counters.value(Counter.TcpRefused), 1);
    assert.equal(kernel.isListening, true);
    kernel.turn(52);
    assert.equal(kernel.opened.length, 2, 'with a descriptor again, the next one is taken');
  });
}

test('when the spare descriptor is gone too, the listener rests and is tried again', () => {
  const kernel = new Kernel();
  kernel.hasSpares = false;
  kernel.turn(-ERRNO.EMFILE, 51);
  assert.deepEqual(kernel.closed, [900, 51]);
  assert.equal(kernel.isListening, false);
  kernel.turn();
  assert.equal(kernel.isListening, false);
  kernel.now += 1_000;
  kernel.turn();
  assert.equal(kernel.isListening, true);
  kernel.turn(-ERRNO.EMFILE, -ERRNO.EMFILE);
  assert.equal(kernel.isListening, false);
  assert.deepEqual(
    kernel.told.map(({ count, from }) => [count, from]),
    [
      [1, '192.0.2.1'],
      [1, ''],
    ],
    'one that could not even be taken has no address',
  );
  kernel.hasSpares = true;
  kernel.now += 1_000;
  kernel.turn();
  kernel.turn(52, -ERRNO.EMFILE, 53);
  assert.equal(kernel.opened.length, 1);
  assert.deepEqual(kernel.closed, [900, 51, 901, 53], 'there is a spare again');
});

for (const shortage of ['ENOMEM', 'ENOBUFS'] as const) {
  test(`when the kernel has no memory for a socket (${shortage}), the listener rests, and that is named`, () => {
    const kernel = new Kernel();
    kernel.turn(-ERRNO[shortage]);
    assert.equal(kernel.isListening, false);
    assert.deepEqual(kernel.told, [{ reason: 'no-kernel-memory-left', count: 1, from: '' }]);
    kernel.now += 1_000;
    kernel.turn();
    kernel.turn(50);
    assert.equal(kernel.opened.length, 1);
  });
}

test('a connection that the kernel can’t watch is closed, and that is named', () => {
  const kernel = new Kernel();
  kernel.canWatch = false;
  kernel.turn(50);
  assert.deepEqual([kernel.opened, kernel.closed], [[], [50]]);
  assert.deepEqual(kernel.told, [{ reason: 'no-kernel-memory-left', count: 1, from: '192.0.2.1' }]);
  kernel.canWatch = true;
  kernel.turn(51);
  assert.equal(kernel.opened.length, 1);
});

test('a connection that went away before it was taken keeps nobody behind it waiting', () => {
  const kernel = new Kernel();
  kernel.turn(-ERRNO.ECONNABORTED, 50);
  assert.equal(kernel.opened.length, 1);
  assert.deepEqual(kernel.told, []);
});

test('refusals are told once a second for each reason, with their number, and again when there was no room', () => {
  const kernel = new Kernel();
  const tooMany = Array.from({ length: 10 }, (_, index) => 50 + index);
  kernel.turn(...tooMany);
  kernel.turn(70, 71);
  assert.deepEqual(kernel.told, [{ reason: 'too-many-tcp-connections', count: 6, from: '192.0.2.1' }]);
  kernel.isControlBehind = true;
  kernel.now += 1_000;
  kernel.turn(72);
  kernel.isControlBehind = false;
  kernel.turn();
  assert.deepEqual(kernel.told.slice(1), [{ reason: 'too-many-tcp-connections', count: 3, from: '192.0.2.1' }]);
  kernel.now += 5_000;
  kernel.turn();
  assert.equal(kernel.told.length, 2);
  assert.equal(kernel.counters.value(Counter.TcpRefused), 9);
});

test('closing everything closes the spare descriptor', () => {
  const kernel = new Kernel();
  kernel.turn(50);
  kernel.transport.closeAll();
  assert.deepEqual(kernel.closed, [50, 900]);
});

test('a listener that somebody has ended ends its thread by name, instead of spinning', () => {
  const kernel = new Kernel();
  assert.throws(() => kernel.turn(-ERRNO.EINVAL), InternalError);
});
