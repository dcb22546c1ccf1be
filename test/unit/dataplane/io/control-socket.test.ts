import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test } from 'node:test';
import { ControlSocket } from '../../../../dataplane/io/control-socket.ts';
import { loadAddon } from '../../../../dataplane/io/load-addon.ts';
import { InternalError } from '../../../../net/errors.ts';
import { waitFor } from '../../../support/wait.ts';

const ECONNABORTED = 103;

/** A control socket on a descriptor that answers reads as given, the last one for ever. */
function socketOf(answers: readonly number[]) {
  let reads = 0;
  let wake = (): void => undefined;
  const addon = {
    ...loadAddon(),
    udpReceive: () => answers[Math.min(reads++, answers.length - 1)] ?? 0,
    watchReadable: (_fd: number, callback: () => void) => {
      wake = callback;
      return () => undefined;
    },
    close: () => undefined,
  };
  const socket = new ControlSocket({ addon, fd: 0, onDatagram: () => undefined });
  return { socket, reads: () => reads, wake: () => wake() };
}

test('an error that waited is taken, and the datagrams behind it are read', () => {
  const { socket, reads, wake } = socketOf([-ECONNABORTED, 1, 0]);
  wake();
  assert.equal(reads(), 2);
  wake();
  assert.equal(reads(), 3);
  socket.close();
});

test('a socket that can not be read any more ends the data plane by name, and does not spin', () => {
  const { socket, reads, wake } = socketOf([-ECONNABORTED]);
  assert.throws(wake, (error) => error instanceof InternalError && error.message.includes('ECONNABORTED'));
  assert.ok(reads() < 100);
  socket.close();
});

test('of a datagram as large as they come no more is kept than shows that it is too long', async () => {
  const addon = loadAddon();
  const buffers = { receiveBufferBytes: 0, sendBufferBytes: 0 };
  const { fd, port } = addon.udpOpen({ address: '127.0.0.1', port: 0, gro: true, ...buffers });
  const kept: Uint8Array[] = [];
  const socket = new ControlSocket({ addon, fd, onDatagram: (_remote, bytes) => kept.push(bytes) });
  const sender = createSocket('udp4');
  for (const length of [65_000, 1_250]) sender.send(Buffer.alloc(length, 0x20), port, '127.0.0.1');
  await waitFor('both', () => kept.length === 2);
  sender.close();
  socket.close();
  assert.deepEqual(new Set(kept.map(({ buffer }) => buffer.byteLength)), new Set([1_250, 4_097]));
});
