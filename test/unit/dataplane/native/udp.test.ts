import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { loadAddon } from '../../../../dataplane/io/load-addon.ts';
import { GRO_SEGMENTS_MAX, RECEIVE_REGION_BYTES } from '../../../../dataplane/io/native-addon.ts';
import { InternalError } from '../../../../net/errors.ts';
import { NativeBatch } from '../../../support/native-batch.ts';
import { randomFrom, SEED, seeded } from '../../../support/seed.ts';

const addon = loadAddon();
const sending = new NativeBatch(addon, { capacity: 1024, bytes: 1 << 20, rows: 64 });
const receiving = new NativeBatch(addon, { capacity: 8192, bytes: 64 * RECEIVE_REGION_BYTES.gro, rows: 64 });

interface Socket {
  readonly fd: number;
  readonly port: number;
}

function openSocket(t: TestContext, address: string, { gro = true, port = 0 } = {}): Socket {
  const buffers = { receiveBufferBytes: 4 << 20, sendBufferBytes: 4 << 20 };
  const socket = addon.udpOpen({ address, port, gro, ...buffers });
  t.after(() => addon.close(socket.fd));
  return socket;
}

const numbered = (count: number, length: number): Uint8Array[] =>
  Array.from({ length: count }, (_, index) => {
    const bytes = new Uint8Array(length).fill(index & 0xff);
    new DataView(bytes.buffer).setUint16(0, index);
    return bytes;
  });

function drain(fd: number, batch = receiving): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (;;) {
    const count = addon.udpReceive(fd, batch.handle);
    assert.ok(count >= 0);
    if (count === 0) return packets;
    packets.push(...batch.packets(count));
  }
}

function counting<T>(run: () => T): { result: T; spent: (name: string) => number } {
  const before = addon.counters();
  const result = run();
  const after = addon.counters();
  return { result, spent: (name) => after[name] - before[name] };
}

test('1,000 queued datagrams take at most 40 receive calls', (t) => {
  const receiver = openSocket(t, '127.0.0.1');
  const sender = openSocket(t, '127.0.0.1');
  const to = addon.parseAddress('127.0.0.1', receiver.port);
  const packets = numbered(1000, 200);
  for (const packet of packets) assert.equal(addon.udpSendTo(sender.fd, packet, to), 200);
  const { result, spent } = counting(() => drain(receiver.fd));
  assert.deepEqual(result, packets);
  assert.equal(spent('receivedDatagrams'), 1000);
  assert.ok(spent('receiveCalls') <= 40, `${spent('receiveCalls')} calls`);
});

test('1,000 datagrams to one remote leave in at most 40 calls and arrive as they were', (t) => {
  const receiver = openSocket(t, '127.0.0.1');
  const sender = openSocket(t, '127.0.0.1');
  sending.arrays.remotes.set(addon.parseAddress('127.0.0.1', receiver.port));
  const packets = numbered(1000, 900);
  const { result, spent } = counting(() => addon.udpSend(sender.fd, sending.handle, sending.lay(packets)));
  assert.equal(result, 1000);
  assert.equal(spent('sentDatagrams'), 1000);
  assert.ok(spent('sendCalls') <= 40, `${spent('sendCalls')} calls`);
  assert.ok(spent('gsoRuns') > 0);
  assert.deepEqual(drain(receiver.fd), packets);
});

test('segments glued by the kernel are never lost for want of slots', (t) => {
  const receiver = openSocket(t, '127.0.0.1');
  const sender = openSocket(t, '127.0.0.1');
  const narrow = new NativeBatch(addon, {
    capacity: GRO_SEGMENTS_MAX,
    bytes: 8 * RECEIVE_REGION_BYTES.gro,
    rows: 8,
  });
  sending.arrays.remotes.set(addon.parseAddress('127.0.0.1', receiver.port));
  const packets = numbered(1000, 100);
  addon.udpSend(sender.fd, sending.handle, sending.lay(packets));
  assert.deepEqual(drain(receiver.fd, narrow), packets);
});

test('any mix of lengths and remotes arrives whole and in order', (t) => {
  const { seed } = seeded(t);
  const random = randomFrom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const receivers = [0, 1, 2].map((index) => openSocket(t, '127.0.0.1', { gro: index > 0 }));
  const sender = openSocket(t, '::');
  for (const [row, { port }] of receivers.entries())
    sending.arrays.remotes.set(addon.parseAddress('127.0.0.1', port), row * 64);
  for (let round = 0; round < 30; round++) {
    const packets: Uint8Array[] = [];
    const rows: number[] = [];
    while (packets.length < 200) {
      const row = below(3);
      const length = [1, 100, 1400, 1400, 1400, below(2000)][below(6)];
      for (let left = below(70); left >= 0 && packets.length < 200; left--) {
        packets.push(new Uint8Array(left === 0 ? below(length + 1) : length).fill(below(256)));
        rows.push(row);
      }
    }
    sending.lay(packets);
    sending.arrays.peer.set(rows);
    assert.equal(addon.udpSend(sender.fd, sending.handle, packets.length), packets.length);
    for (const [row, { fd }] of receivers.entries())
      assert.deepEqual(
        drain(fd),
        packets.filter((_, index) => rows[index] === row),
        `TEST_SEED=${SEED}, round ${round}, receiver ${row}`,
      );
  }
});

test('slots that are not to be sent, or are for TCP, stay', (t) => {
  const receiver = openSocket(t, '127.0.0.1');
  sending.arrays.remotes.set(addon.parseAddress('127.0.0.1', receiver.port));
  const packets = numbered(4, 10);
  sending.lay(packets);
  sending.arrays.verdict[1] = 0;
  sending.arrays.flags[2] = 1;
  assert.equal(addon.udpSend(receiver.fd, sending.handle, 4), 2);
  assert.deepEqual(drain(receiver.fd), [packets[0], packets[3]]);
});

test('data goes to the socket of its peer id, all else to the control socket, whatever its source', (t) => {
  const first = openSocket(t, '127.0.0.1');
  const group = [first, ...[1, 2].map(() => openSocket(t, '127.0.0.1', { port: first.port }))];
  addon.udpSteer(first.fd, 2);
  const to = addon.parseAddress('127.0.0.1', first.port);
  const expected: string[][] = [[], [], []];
  for (let index = 0; index < 30; index++) {
    const sender = openSocket(t, '127.0.0.1');
    const peerId = index * 7;
    const header = [0x48 | (index & 7), (peerId >> 16) & 0xff, (peerId >> 8) & 0xff, peerId & 0xff, index];
    const other = [
      [0x38, 1, 2, 3, index],
      [0x30, 0, 0, 0, index],
      [0x48, 0, 1],
      [0x20, 0, 0, 1, index],
    ][index & 3];
    addon.udpSendTo(sender.fd, Uint8Array.from(header), to);
    addon.udpSendTo(sender.fd, Uint8Array.from(other), to);
    expected[peerId & 1].push(header.join());
    expected[2].push(other.join());
  }
  assert.deepEqual(
    group.map(({ fd }) => drain(fd).map((packet) => packet.join())),
    expected,
  );
});

for (const { server, host, family } of [
  { server: '::', host: '127.0.0.5', family: 4 },
  { server: '0.0.0.0', host: '127.0.0.5', family: 4 },
  { server: '::', host: '::1', family: 6 },
])
  test(`a socket on ${server} answers from ${host}, the address that was used`, (t) => {
    const service = openSocket(t, server);
    const client = openSocket(t, family === 4 ? '127.0.0.1' : '::1');
    addon.udpSendTo(client.fd, Uint8Array.of(1), addon.parseAddress(host, service.port));
    assert.equal(addon.udpReceive(service.fd, receiving.handle), 1);
    const row = receiving.arrays.remotes.slice(0, 64);
    const clientAddress = family === 4 ? '127.0.0.1' : '::1';
    assert.deepEqual(addon.formatAddress(row), { family, address: clientAddress, port: client.port });
    addon.udpSendTo(service.fd, Uint8Array.of(2), row);
    sending.arrays.remotes.set(row);
    addon.udpSend(service.fd, sending.handle, sending.lay([Uint8Array.of(3), Uint8Array.of(4)]));
    const answers = drain(client.fd);
    assert.deepEqual(
      answers.map((bytes) => bytes[0]),
      [2, 3, 4],
    );
    const from = addon.formatAddress(receiving.arrays.remotes.slice(0, 64));
    assert.deepEqual(from, { family, address: host, port: service.port });
  });

test('an address survives its row; text that is none is refused', () => {
  for (const address of ['0.0.0.0', '192.0.2.255', '::', '2001:db8::1', 'fe80::1'])
    assert.equal(addon.formatAddress(addon.parseAddress(address, 65_535)).address, address);
  assert.equal(addon.formatAddress(addon.parseAddress('::ffff:192.0.2.1', 1)).address, '192.0.2.1');
  assert.deepEqual(addon.formatAddress(new Uint8Array(64)), { family: 0, address: '', port: 0 });
  for (const text of ['', 'localhost', '1.2.3', '1.2.3.4.5', '::g', 'x'.repeat(1000)])
    assert.throws(() => addon.parseAddress(text, 1), InternalError);
  assert.throws(() => addon.parseAddress('::', 65_536), InternalError);
});

test('a datagram larger than its region is counted and left out', (t) => {
  const receiver = openSocket(t, '127.0.0.1', { gro: false });
  const small = new NativeBatch(addon, { capacity: 16, bytes: 16 * 64, rows: 16, regionBytes: 64 });
  const to = addon.parseAddress('127.0.0.1', receiver.port);
  for (const length of [64, 65, 0, 1]) addon.udpSendTo(receiver.fd, new Uint8Array(length), to);
  const { result, spent } = counting(() => addon.udpReceive(receiver.fd, small.handle));
  assert.deepEqual(
    small.packets(result).map((packet) => packet.length),
    [64, 0, 1],
  );
  assert.equal(spent('receiveTruncated'), 1);
});
