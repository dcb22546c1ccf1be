import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { echoRequest, isEchoReply } from '../../../support/inner-packets.ts';
import { inPrivateNetwork } from '../../../support/private-network.ts';
import { LabClient, openPolicy, peerRecord, TARGET, TunnelLab } from '../../../support/tunnel-lab.ts';
import { waitFor } from '../../../support/wait.ts';

const CLIENT = '10.8.0.2';

/** One stream, cut into frames. */
class Stream {
  readonly socket: Socket;
  readonly frames: Uint8Array[] = [];
  isClosed = false;
  #rest = Buffer.alloc(0);

  constructor(port: number) {
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.socket.on('data', (bytes: Buffer) => this.#cut(bytes));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => (this.isClosed = true));
  }

  send(...frames: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(frames.map(framed)));
  }

  async closed(): Promise<void> {
    await waitFor('the gateway to close the stream', () => this.isClosed);
  }

  #cut(bytes: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    while (this.#rest.length >= 2 && this.#rest.length >= 2 + this.#rest.readUInt16BE(0)) {
      const end = 2 + this.#rest.readUInt16BE(0);
      this.frames.push(Uint8Array.from(this.#rest.subarray(2, end)));
      this.#rest = this.#rest.subarray(end);
    }
  }
}

function framed(packet: Uint8Array): Uint8Array {
  return Uint8Array.from([packet.length >>> 8, packet.length & 0xff, ...packet]);
}

async function withStream(
  run: (parts: { lab: TunnelLab; stream: Stream; client: LabClient; connection: number }) => Promise<void>,
  threads = 1,
): Promise<void> {
  await using lab = await TunnelLab.start({ threads, transport: 'tcp' });
  await lab.setPolicy(openPolicy());
  const stream = new Stream(lab.port);
  const { connection } = await lab.notified('tcpOpened');
  const options = { peerId: connection & 0xff, tunnelAddress: CLIENT };
  const client = new LabClient(lab, options);
  lab.host.newPeer(peerRecord(options, { kind: 'tcp', connection }));
  client.newKey(0, 'primary');
  await lab.settle();
  await run({ lab, stream, client, connection });
  stream.socket.destroy();
}

/** The inner packet of the first frame that fits. */
function inner(stream: Stream, client: LabClient, fits: (packet: Uint8Array) => boolean): Promise<Uint8Array> {
  let seen = 0;
  return waitFor('an inner packet', () => {
    for (; seen < stream.frames.length; seen++) {
      const packet = client.open(stream.frames[seen]);
      if (packet !== undefined && fits(packet)) return packet;
    }
    return undefined;
  });
}

inPrivateNetwork(import.meta.filename, () => {
  for (const threads of [1, 2]) {
    test(`a client pings the target over TCP (${threads} threads)`, () =>
      withStream(async ({ stream, client }) => {
        stream.send(...client.seal([echoRequest(CLIENT, TARGET, 1)]));
        await inner(stream, client, (packet) => isEchoReply(packet, 1));
      }, threads));
  }

  test('[P3] byte by byte, and three frames at once', () =>
    withStream(async ({ stream, client }) => {
      const [slow] = client.seal([echoRequest(CLIENT, TARGET, 1)]);
      for (const byte of framed(slow)) {
        stream.socket.write(Uint8Array.of(byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await inner(stream, client, (packet) => isEchoReply(packet, 1));
      stream.send(...client.seal([2, 3, 4].map((sequence) => echoRequest(CLIENT, TARGET, sequence))));
      await waitFor('three answers', () => stream.frames.length === 4);
    }));

  for (const [name, bytes] of [
    ['[P1] length 0', [0, 0]],
    ['[P2] length 65535 and nothing behind it', [0xff, 0xff]],
    ['a length just above the limit', [(2048 + 1500 + 1) >> 8, (2048 + 1500 + 1) & 0xff]],
  ] as const) {
    test(`${name} closes the connection`, () =>
      withStream(async ({ lab, stream }) => {
        stream.socket.write(Uint8Array.from(bytes));
        await stream.closed();
        assert.match((await lab.notified('tcpClosed')).reason, /out of range/);
      }));
  }

  test('[P67] a packet that does not open closes the connection', () =>
    withStream(async ({ lab, stream, client, connection }) => {
      const [packet] = client.seal([echoRequest(CLIENT, TARGET, 1)]);
      packet[packet.length - 1] ^= 1;
      stream.send(packet);
      await stream.closed();
      assert.equal((await lab.notified('tcpClosed')).connection, connection);
    }));

  test('control frames go to the control thread and its answers come back, before the end of the stream', () =>
    withStream(async ({ lab, stream, connection }) => {
      const control = Uint8Array.of(0x38, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0);
      stream.send(control);
      const heard = await lab.notified('controlPacket');
      assert.deepEqual([heard.bytes, heard.remote, heard.connection], [control, null, connection]);
      lab.host.transmitTcp(connection, Uint8Array.of(0x40, 9, 9));
      lab.host.transmitTcp(connection, new Uint8Array(1200).fill(0x20));
      lab.host.closeTcp(connection);
      await stream.closed();
      assert.deepEqual(stream.frames, [Uint8Array.of(0x40, 9, 9), new Uint8Array(1200).fill(0x20)]);
    }));

  test('a stream whose control frame finds no room ends, and no other loses one', async () => {
    await using lab = await TunnelLab.start({ threads: 1, transport: 'tcp' });
    const streams = Array.from({ length: 60 }, () => new Stream(lab.port));
    const opened = (): number => lab.notifications.filter(({ kind }) => kind === 'tcpOpened').length;
    await waitFor('all streams', () => opened() === streams.length);
    const control = new Uint8Array(1_200).fill(0x38);
    for (const stream of streams) stream.send(...Array.from({ length: 40 }, () => control));
    // Here runs what reads the rings.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
    const heard = new Map<number, number>();
    const ended = new Set<number>();
    await waitFor('a word on every stream', () => {
      for (const notification of lab.notifications.splice(0)) {
        if (notification.kind === 'tcpClosed') {
          assert.equal(notification.reason, 'control thread behind');
          ended.add(notification.connection);
        } else if (notification.kind === 'controlPacket' && notification.connection !== null)
          heard.set(notification.connection, (heard.get(notification.connection) ?? 0) + 1);
      }
      const whole = [...heard].filter(([connection, count]) => count === 40 && !ended.has(connection));
      return whole.length + ended.size === streams.length;
    });
    assert.ok(ended.size > 0 && ended.size < streams.length, `${ended.size} ended`);
    for (const stream of streams) stream.socket.destroy();
  });

  test('[P73] data before there is a peer goes nowhere and closes nothing', async () => {
    await using lab = await TunnelLab.start({ threads: 1, transport: 'tcp' });
    const stream = new Stream(lab.port);
    stream.send(new Uint8Array(100).fill(0x48));
    await waitFor('the drop', () => lab.host.counters().drops.UnknownPeer === 1);
    assert.equal(stream.isClosed, false);
    stream.socket.destroy();
    await lab.notified('tcpClosed');
  });

  test('a client that does not read loses data, not the connection, and control frames overtake', () =>
    withStream(async ({ lab, stream, client, connection }) => {
      stream.socket.pause();
      const request = echoRequest(CLIENT, TARGET, 1, 1400);
      await waitFor(
        'the queue to overflow',
        () => {
          stream.send(...client.seal(Array.from({ length: 60 }, () => request)));
          return lab.host.counters().drops.TcpQueueFull > 0;
        },
        30_000,
      );
      lab.host.transmitTcp(connection, Uint8Array.of(0x20, 7));
      await lab.settle();
      stream.socket.resume();
      const at = await waitFor('the control frame', () => {
        const index = stream.frames.findIndex((frame) => frame.length === 2);
        return index >= 0 ? index : undefined;
      });
      await waitFor('the data behind it', () => stream.frames.length > at + 60);
      assert.ok(stream.frames.every((frame) => frame.length === 2 || client.open(frame) !== undefined));
      assert.equal(stream.isClosed, false);
    }));

  test('a client that lets a megabyte of control frames wait is closed', () =>
    withStream(async ({ lab, stream, connection }) => {
      stream.socket.pause();
      await waitFor(
        'the end',
        () => {
          for (let i = 0; i < 200; i++) lab.host.transmitTcp(connection, new Uint8Array(1200));
          return lab.notifications.some((notification) => notification.kind === 'tcpClosed');
        },
        30_000,
      );
    }));

  test('one address holds at most 256 connections', async () => {
    await using lab = await TunnelLab.start({ threads: 1, transport: 'tcp' });
    const streams = Array.from({ length: 280 }, () => new Stream(lab.port));
    await waitFor('the refusals', () => lab.host.counters().tcpRefused === 24);
    assert.equal(lab.host.counters().tcpAccepted, 256);
    const told = await lab.notified('tcpRefused');
    assert.equal(told.reason, 'too-many-tcp-connections-of-one-subscriber');
    assert.ok(told.count >= 1 && told.count <= 24);
    assert.equal(lab.addon.formatAddress(told.remote).address, '127.0.0.1');
    for (const stream of streams) stream.socket.destroy();
    await waitFor('all to be gone', () => lab.host.counters().tcpClosed === 256);
    const next = new Stream(lab.port);
    await waitFor('room again', () => lab.host.counters().tcpAccepted === 257);
    next.socket.destroy();
  });
});
