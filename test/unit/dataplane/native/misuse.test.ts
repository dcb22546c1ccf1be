import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadAddon } from '../../../../dataplane/io/load-addon.ts';
import { InternalError } from '../../../../net/errors.ts';
import { countingBytes } from '../../../support/hex.ts';
import { NativeBatch } from '../../../support/native-batch.ts';
import { randomFrom, seeded } from '../../../support/seed.ts';

const addon = loadAddon();
const size = { capacity: 16, bytes: 65_536, rows: 4, regionBytes: 2048 };
const misuse = (error: unknown): boolean =>
  error instanceof TypeError || error instanceof RangeError || error instanceof InternalError;
const key = {
  cipher: 'AES-128-GCM',
  epochFormat: false,
  encryptKey: countingBytes(16),
  encryptIv: countingBytes(8),
  decryptKey: countingBytes(16),
  decryptIv: countingBytes(8),
};
// A call with arguments that the types forbid.
const call = (name: string, ...arguments_: unknown[]): unknown =>
  (addon as unknown as Record<string, (...all: unknown[]) => unknown>)[name](...arguments_);

test('every function refuses nothing, wrong types and numbers that are none', () => {
  const harmless = [
    'counters',
    'counterNames',
    'monotonicMs',
    'monotonicNs',
    'pollCreate',
    'eventCreate',
    'hideMemory',
  ];
  for (const name of Object.keys(addon)) {
    if (harmless.includes(name)) continue;
    for (const bad of [
      [],
      ['x'],
      [null, null, null, null],
      [{}, {}, {}, {}],
      [1.5, 1.5, 1.5, 1.5],
      [NaN, NaN, NaN, NaN],
      [2 ** 40, 0, 0, 0],
      [-1, -1, -1, -1],
    ])
      assert.throws(() => call(name, ...bad), misuse, `${name}(${JSON.stringify(bad)})`);
  }
});

test('a descriptor that is none is an errno or an Error, not a crash', () => {
  const { handle } = new NativeBatch(addon, { ...size, bytes: 1 << 18 });
  for (const name of ['udpReceive', 'udpSend', 'tunRead']) assert.ok(Number(call(name, 999_999, handle, 0)) <= 0, name);
  assert.throws(() => addon.close(999_999), { code: 'EBADF' });
  assert.throws(
    () => addon.udpOpen({ address: '203.0.113.1', port: 1, gro: true, receiveBufferBytes: 0, sendBufferBytes: 0 }),
    { code: 'EADDRNOTAVAIL' },
  );
  assert.throws(() => addon.tunOpen({ name: 'x'.repeat(16), multiQueue: true }), RangeError);
});

test('a batch with arrays of another kind, of other lengths or that may shrink is refused', () => {
  const { arrays } = new NativeBatch(addon, size);
  const bad: Record<string, unknown>[] = [
    { offset: new Uint32Array(0) },
    { offset: new Uint32Array(17) },
    { offset: new Float64Array(16) },
    { verdict: new Uint8Array(15) },
    { key: [] },
    { peer: undefined },
    { remotes: new Uint8Array(63) },
    { bytes: new Uint8Array(new ArrayBuffer(64, { maxByteLength: 128 })) },
    { epoch: new Uint16Array(0) },
    { count: new Uint32Array(0) },
    { regionBytes: 10 },
    { regionBytes: '2048' },
  ];
  for (const change of bad)
    assert.throws(() => call('registerBatch', { ...arrays, ...change }), misuse, Object.keys(change).join());
});

test('memory that was transferred away, a released batch and a freed key are refused', () => {
  const { arrays, handle } = new NativeBatch(addon, size);
  structuredClone(arrays.bytes.buffer, { transfer: [arrays.bytes.buffer as ArrayBuffer] });
  assert.throws(() => addon.open(handle, 1), TypeError);
  const other = new NativeBatch(addon, size);
  addon.releaseBatch(other.handle);
  assert.throws(() => addon.open(other.handle, 1), RangeError);
  assert.throws(() => addon.releaseBatch(other.handle), RangeError);
  const freed = addon.keyInstall(key);
  addon.keyFree(freed);
  assert.throws(() => addon.keyFree(freed), RangeError);
  assert.throws(() => addon.keyUsage(freed, new Float64Array(8)), RangeError);
  assert.notEqual(addon.keyInstall(key), freed, 'a handle is not used again at once');
});

test('keys of the wrong size, all-zero keys and foreign ciphers are refused', () => {
  for (const change of [
    { cipher: 'AES-128-CBC' },
    { encryptKey: countingBytes(32) },
    { decryptKey: new Uint8Array(16) },
    { encryptIv: countingBytes(12) },
    { epochFormat: true },
  ])
    assert.throws(() => addon.keyInstall({ ...key, ...change }), RangeError);
  assert.throws(() => addon.udpSteer(0, 3), RangeError);
  const handle = addon.keyInstall(key);
  assert.throws(() => addon.keyForwardForTest(handle, 2 ** 32, 0), RangeError);
  assert.throws(() => addon.keyForwardForTest(handle, 0, 5), RangeError);
});

test('lying offsets, lengths, counts, rows and keys never reach memory', (t) => {
  const random = randomFrom(seeded(t).seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const batches = [new NativeBatch(addon, size), new NativeBatch(addon, size)];
  const handle = addon.keyInstall(key);
  const socket = addon.udpOpen({ address: '127.0.0.1', port: 0, gro: true, receiveBufferBytes: 0, sendBufferBytes: 0 });
  t.after(() => addon.close(socket.fd));
  const edge = [0, 1, 16, 28, 1400, 65_535, 65_536, 0x7fff_ffff, 0xffff_ffff];
  let refused = 0;
  for (let round = 0; round < 5000; round++) {
    const { arrays } = batches[below(2)];
    const slot = below(16);
    arrays.offset[slot] = below(3) > 0 ? below(65_536) : edge[below(9)];
    arrays.length[slot] = below(3) > 0 ? below(2000) : edge[below(9)];
    arrays.verdict[slot] = below(4) > 0 ? 2 : below(9);
    arrays.key[slot] = [handle, handle, -1, handle + 1, 0x7fff_ffff][below(5)];
    arrays.peer[slot] = [0, 3, 4, -1, 0x7fff_ffff][below(5)];
    arrays.header[slot] = [0x48000001, 0x30000000, 0x12345678][below(3)];
    arrays.flags[slot] = below(4);
    arrays.offload[slot] = [0, 1, 5, 0x80, 0x81, 0x85, 3, 0xff][below(8)];
    arrays.segmentBytes[slot] = [0, 1, 536, 1400, 65_535][below(5)];
    arrays.checksumStart[slot] = edge[below(6)];
    arrays.checksumOffset[slot] = edge[below(6)];
    const start = arrays.offset[slot];
    if (start < 65_000)
      arrays.bytes.set(
        [
          [0x45, 0, 0, 200],
          [0x48, 0, 0, 1],
          [0x4f, 0, 0xff, 0xff],
        ][below(3)],
        start,
      );
    const count = [1, 16, 17, -1, below(17)][below(5)];
    const [first, second] = batches.map((batch) => batch.handle);
    try {
      [
        () => addon.open(first, count),
        () => addon.seal(first, below(17), count, second),
        () => addon.seal(first, 0, count, first),
        () => addon.tunWrite(socket.fd, first, count, 1),
        () => addon.udpSend(socket.fd, first, count),
        () => addon.udpReceive(socket.fd, second),
        () => addon.seal(second, 0, count, first),
      ][below(7)]();
    } catch (error) {
      assert.ok(misuse(error), String(error));
      refused++;
    }
  }
  assert.ok(refused > 500 && refused < 4900, `${refused} of 5000 refused: both sides must be met`);
});
