import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Opcode } from '../../../../dataplane/protocol/opcode.ts';
import { ByteQueue } from '../../../../dataplane/protocol/packet-assembly.ts';
import { MAX_BACKLOG_BYTES, ReceiveQueue, SendQueue } from '../../../../dataplane/protocol/reliability.ts';
import { countingBytes } from '../../../support/hex.ts';
import { randomBytesFrom, randomFrom, seeded } from '../../../support/seed.ts';

const NOTHING = new Uint8Array(0);

function sendQueue(options: { readonly firstMessageId?: number; readonly retransmits?: boolean } = {}): SendQueue {
  return new SendQueue({
    firstMessageId: options.firstMessageId ?? 0,
    retransmitMs: 2000,
    leastRetransmitMs: 500,
    retransmits: options.retransmits ?? true,
    maxPayloadBytes: 10,
  });
}

const idsOf = (messages: readonly { messageId: number }[]): readonly number[] =>
  messages.map(({ messageId }) => messageId);

test('[P33] repeats after 2, 4, 8, 16 and 32 s, with at most six outstanding', () => {
  const queue = sendQueue();
  queue.pushStream(countingBytes(100));
  assert.deepEqual(idsOf(queue.due(0)), [0, 1, 2, 3, 4, 5]);
  const sentAt: number[] = [];
  for (
    let deadline = queue.nextDeadline();
    deadline !== undefined && deadline < 130_000;
    deadline = queue.nextDeadline()
  ) {
    assert.deepEqual(queue.due(deadline - 1), []);
    assert.deepEqual(idsOf(queue.due(deadline)), [0, 1, 2, 3, 4, 5]);
    sentAt.push(deadline);
  }
  assert.deepEqual(sentAt, [2000, 6000, 14_000, 30_000, 62_000, 94_000, 126_000]);
  assert.equal(queue.backlogBytes, 40);
});

test('the window stays shut until the oldest message is acknowledged', () => {
  const queue = sendQueue();
  queue.pushStream(countingBytes(100));
  queue.due(0);
  queue.ack([3, 4, 5], 1);
  assert.deepEqual(
    idsOf(queue.due(1)).filter((id) => id > 5),
    [],
  );
  queue.ack([0], 1);
  assert.deepEqual(
    idsOf(queue.due(2)).filter((id) => id > 5),
    [6],
  );
});

test('[P34] resends at once when three later messages are acknowledged, and only then', () => {
  const queue = sendQueue();
  queue.pushStream(countingBytes(60));
  queue.due(0);
  queue.ack([1, 2], 10);
  assert.deepEqual(queue.due(10), []);
  queue.ack([2, 1, 3], 20);
  assert.deepEqual(idsOf(queue.due(20)), [0]);
  queue.ack([4], 30);
  assert.deepEqual(queue.due(30), []);
});

/** When each message of `queue` is sent again, until `endMs`. */
function resendsUntil(queue: SendQueue, endMs: number): Record<number, readonly number[]> {
  const sentAt: Record<number, readonly number[]> = {};
  for (let deadline = queue.nextDeadline() ?? 0; deadline < endMs; deadline = queue.nextDeadline() ?? Infinity)
    sentAt[deadline] = idsOf(queue.due(deadline));
  return sentAt;
}

for (const [roundTripMs, expected] of [
  [40, { 500: [1, 2], 1_500: [1, 2], 3_500: [1, 2] }],
  [200, { 800: [1, 2], 2_400: [1, 2] }],
  [700, { 2_000: [1, 2] }],
] as const) {
  test(`after a round trip of ${roundTripMs} ms what is lost is repeated after four of them, within 0.5 and 2 s`, () => {
    const queue = sendQueue();
    queue.pushStream(countingBytes(30));
    queue.due(0);
    queue.ack([0], roundTripMs);
    assert.deepEqual(resendsUntil(queue, 5_000), expected);
    queue.pushStream(countingBytes(10));
    assert.deepEqual(idsOf(queue.due(5_000)), [3]);
    assert.equal(resendsUntil(queue, 20_000)[5_000 + Number(Object.keys(expected)[0])]?.includes(3), true);
  });
}

test('a message that was sent twice measures no round trip', () => {
  const queue = sendQueue();
  queue.pushStream(countingBytes(20));
  queue.due(0);
  queue.due(2_000);
  queue.ack([0], 2_010);
  assert.equal(queue.nextDeadline(), 6_000);
});

test('last words are repeated sooner, what was said before is not', () => {
  const queue = sendQueue();
  queue.pushStream(countingBytes(10));
  queue.due(0);
  queue.hurry();
  queue.pushStream(countingBytes(10));
  queue.due(0);
  assert.deepEqual(resendsUntil(queue, 4_000), { 500: [1], 1_500: [1], 2_000: [0], 3_000: [0], 3_500: [1] });
});

test('does not retransmit on TCP', () => {
  const queue = sendQueue({ retransmits: false });
  queue.pushStream(countingBytes(60));
  assert.equal(queue.due(0).length, 6);
  assert.equal(queue.nextDeadline(), undefined);
  queue.ack([1, 2, 3, 4], 40);
  assert.deepEqual(queue.due(1e9), []);
  assert.equal(queue.isEmpty, false);
  queue.ack([0, 5], 40);
  assert.equal(queue.isEmpty, true);
});

test('small writes share a packet, a reset goes ahead of them', () => {
  const queue = sendQueue();
  queue.pushStream(Uint8Array.of(1, 2));
  queue.pushStream(Uint8Array.of(3));
  queue.pushMessage(Opcode.SoftResetV1, NOTHING);
  const [reset, data] = queue.due(0);
  assert.equal(reset.opcode, Opcode.SoftResetV1);
  assert.deepEqual([...data.payload], [1, 2, 3]);
});

test('a peer that acknowledges nothing cannot make the backlog grow for ever', () => {
  const queue = sendQueue();
  let pushes = 0;
  while (queue.pushStream(new Uint8Array(16_384))) pushes += 1;
  assert.equal(pushes * 16_384, MAX_BACKLOG_BYTES);
  assert.equal(queue.backlogBytes, MAX_BACKLOG_BYTES);
});

test('what is queued is a copy', () => {
  const queue = sendQueue();
  const bytes = Uint8Array.of(1, 2, 3);
  queue.pushStream(bytes);
  bytes.fill(9);
  assert.deepEqual([...queue.due(0)[0].payload], [1, 2, 3]);
});

test('[P30] a duplicate is acknowledged again and delivered once', () => {
  const queue = new ReceiveQueue();
  assert.equal(queue.receive(0, Opcode.ControlV1, Uint8Array.of(7)), 'accepted');
  assert.deepEqual([...(queue.next()?.payload ?? [])], [7]);
  assert.deepEqual(queue.takeAcks('ack'), [0]);
  assert.equal(queue.receive(0, Opcode.ControlV1, Uint8Array.of(8)), 'duplicate');
  assert.equal(queue.next(), undefined);
  assert.equal(queue.pendingAcks, 1);
  assert.deepEqual(queue.takeAcks('ack'), [0]);
});

test('[P31] packets out of order are all acknowledged and delivered in order', () => {
  const queue = new ReceiveQueue();
  for (const id of [1, 0, 2]) assert.equal(queue.receive(id, Opcode.ControlV1, Uint8Array.of(id)), 'accepted');
  assert.deepEqual(new Set(queue.takeAcks('ack')), new Set([0, 1, 2]));
  const delivered: number[] = [];
  for (let message = queue.next(); message !== undefined; message = queue.next()) delivered.push(message.payload[0]);
  assert.deepEqual(delivered, [0, 1, 2]);
});

test('[P32] the window ends eleven after the expected message', () => {
  const queue = new ReceiveQueue(100);
  assert.equal(queue.receive(112, Opcode.ControlV1, NOTHING), 'beyond-window');
  assert.equal(queue.pendingAcks, 0);
  assert.equal(queue.receive(111, Opcode.ControlV1, NOTHING), 'accepted');
  assert.deepEqual(queue.takeAcks('control'), [111]);
});

test('[P37] acknowledges four ids beside a message and eight in P_ACK_V1, repeating the latest', () => {
  const queue = new ReceiveQueue();
  for (let id = 0; id < 10; id += 1) queue.receive(id, Opcode.ControlV1, NOTHING);
  assert.deepEqual(queue.takeAcks('control'), [3, 2, 1, 0]);
  assert.equal(queue.pendingAcks, 6);
  assert.deepEqual(queue.takeAcks('ack'), [9, 8, 7, 6, 5, 4, 3, 2]);
  assert.equal(queue.pendingAcks, 0);
  assert.deepEqual(queue.takeAcks('control'), [9, 8, 7, 6], 'once more, though nothing is pending');
});

test('ids wrap around at 2^32 on both sides', () => {
  const first = 0xfffffffe;
  const sender = sendQueue({ firstMessageId: first });
  const receiver = new ReceiveQueue(first);
  const sent = countingBytes(80);
  sender.pushStream(sent);
  const received: number[] = [];
  for (let round = 0; !sender.isEmpty; round += 1) {
    for (const { messageId, opcode, payload } of sender.due(round)) receiver.receive(messageId, opcode, payload);
    for (let message = receiver.next(); message !== undefined; message = receiver.next())
      received.push(...message.payload);
    sender.ack(receiver.takeAcks('ack'), round);
  }
  assert.deepEqual(received, [...sent]);
});

test('a stream survives a link that loses, repeats and reorders, and no ack is lost for good', (t) => {
  const random = randomFrom(seeded(t).seed);
  for (let run = 0; run < 20; run += 1) {
    const sender = sendQueue();
    const receiver = new ReceiveQueue();
    const sent = randomBytesFrom(random, 1000);
    sender.pushStream(sent);
    const received: number[] = [];
    let link: ReturnType<SendQueue['due']>[number][] = [];
    let nowMs = 0;
    for (; !sender.isEmpty; nowMs += 100) {
      assert.ok(nowMs < 3_600_000, 'the stream stalled');
      for (const message of sender.due(nowMs)) {
        if (random() < 0.7) link.push(message);
        if (random() < 0.1) link.push(message);
      }
      link.sort(() => random() - 0.5);
      for (const { messageId, opcode, payload } of link) receiver.receive(messageId, opcode, payload);
      link = [];
      for (let message = receiver.next(); message !== undefined; message = receiver.next()) {
        received.push(...message.payload);
      }
      const acks = receiver.pendingAcks > 0 ? receiver.takeAcks('ack') : [];
      if (random() < 0.7) sender.ack(acks, nowMs);
    }
    assert.deepEqual(received, [...sent]);
  }
});

test('a byte queue gives what was put in, in pieces of any size', (t) => {
  const random = randomFrom(seeded(t).seed);
  const queue = new ByteQueue();
  const sent: number[] = [];
  const taken: number[] = [];
  for (let step = 0; step < 2000; step += 1) {
    if (random() < 0.5) {
      const bytes = randomBytesFrom(random, Math.floor(random() * 20));
      queue.push(bytes);
      sent.push(...bytes);
    } else taken.push(...queue.take(Math.floor(random() * 20)));
    assert.equal(queue.length, sent.length - taken.length);
  }
  taken.push(...queue.take(Infinity));
  assert.deepEqual(taken, sent);
});
