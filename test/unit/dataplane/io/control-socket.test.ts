import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ControlSocket } from '../../../../dataplane/io/control-socket.ts';
import { loadAddon } from '../../../../dataplane/io/load-addon.ts';
import { InternalError } from '../../../../net/errors.ts';

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
