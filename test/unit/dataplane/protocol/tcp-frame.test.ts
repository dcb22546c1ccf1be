import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concatBytes } from '../../../../dataplane/protocol/bytes.ts';
import { frameForTcp, maxTcpPacketBytes, TcpFrameReader } from '../../../../dataplane/protocol/tcp-frame.ts';
import { countingBytes } from '../../../support/hex.ts';

const MAX = maxTcpPacketBytes(1500);

test('[P1] length 0 breaks the connection', () => {
  assert.deepEqual(new TcpFrameReader(MAX).push(Uint8Array.of(0, 0)), { ok: false });
});

test('[P2] a length beyond the largest packet breaks the connection at once', () => {
  assert.deepEqual(new TcpFrameReader(MAX).push(Uint8Array.of(0xff, 0xff)), { ok: false });
  const tooLong = MAX + 1;
  assert.deepEqual(new TcpFrameReader(MAX).push(Uint8Array.of(tooLong >>> 8, tooLong & 255)), { ok: false });
  assert.deepEqual(new TcpFrameReader(MAX).push(Uint8Array.of(MAX >>> 8, MAX & 255)), { ok: true, packets: [] });
});

test('a broken stream stays broken', () => {
  const reader = new TcpFrameReader(MAX);
  reader.push(Uint8Array.of(0, 0));
  assert.deepEqual(reader.push(frameForTcp(countingBytes(14))), { ok: false });
});

test('[P3] packets arrive whole from pieces of any size, and several from one', () => {
  const packets = [countingBytes(14), countingBytes(1), countingBytes(MAX)];
  const stream = concatBytes(...packets.map((packet) => frameForTcp(packet)));
  for (const pieceBytes of [1, 2, 3, 7, stream.length]) {
    const reader = new TcpFrameReader(MAX);
    const read: Uint8Array[] = [];
    for (let at = 0; at < stream.length; at += pieceBytes) {
      const frames = reader.push(stream.subarray(at, at + pieceBytes));
      assert.ok(frames.ok);
      read.push(...frames.packets);
    }
    assert.deepEqual(read, packets);
  }
});
