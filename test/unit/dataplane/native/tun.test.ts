import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ForwardingJob, ForwardingResult } from '../../../support/forwarding-namespace.ts';
import { hasValidChecksums, mendChecksums, tcpPacket, TcpFlag, udpPacket } from '../../../support/ip-twin.ts';
import { skipWithoutNamespaces } from '../../../support/requirements.ts';
import { randomBytesFrom, randomFrom, seeded } from '../../../support/seed.ts';

const skip = skipWithoutNamespaces();
const PROGRAM = join(import.meta.dirname, '..', '..', '..', 'support', 'forwarding-namespace.ts');

function forward(batches: readonly (readonly Uint8Array[])[], oversize?: ForwardingJob['oversize']) {
  const encoded = batches.map((packets) => packets.map((packet) => Buffer.from(packet).toString('base64')));
  const job: ForwardingJob = { batches: encoded, ...(oversize === undefined ? {} : { oversize }) };
  const options = { input: JSON.stringify(job), maxBuffer: 1 << 28, timeout: 60_000 };
  const text = execFileSync('unshare', ['--net', process.execPath, PROGRAM], options);
  const result = JSON.parse(text.toString()) as ForwardingResult;
  const decoded = result.batches.map((packets) =>
    packets.map((packet) => Uint8Array.from(Buffer.from(packet, 'base64'))),
  );
  return { ...result, packets: decoded };
}

/** The packet one hop later. */
function forwarded(packet: Uint8Array): Uint8Array {
  const next = packet.slice();
  next[8]--;
  mendChecksums(next);
  return next;
}

class Flow {
  readonly #port: number;
  #sequence: number;
  #id = 1;
  constructor(port: number, sequence: number) {
    this.#port = port;
    this.#sequence = sequence;
  }
  next(payload: Uint8Array, changes: Partial<Parameters<typeof tcpPacket>[0]> = {}): Uint8Array {
    const ends = { source: ['10.8.0.2', this.#port], destination: ['10.9.0.2', 80] } as const;
    const packet = tcpPacket({ ...ends, sequence: this.#sequence, payload, id: this.#id++, ...changes });
    this.#sequence = (this.#sequence + payload.length) >>> 0;
    return packet;
  }
  skip(bytes: number): void {
    this.#sequence = (this.#sequence + bytes) >>> 0;
  }
}

const payload = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill);

test('a sequence of segments is written once, read as a super-packet and sealed as it was', { skip }, () => {
  const flow = new Flow(4000, 0xffff_ff00);
  const packets = Array.from({ length: 40 }, (_, index) => flow.next(payload(1400, index)));
  packets.push(flow.next(payload(77, 99), { flags: TcpFlag.Ack | TcpFlag.Push }));
  const result = forward([packets]);
  assert.deepEqual(result.packets[0], packets.map(forwarded));
  assert.ok(result.packets[0].every(hasValidChecksums));
  assert.equal(result.counters['tunWrites'], 1);
  assert.equal(result.counters['coalescedRuns'], 1);
  assert.equal(result.reads[0], 1, 'the far device reads one super-packet');
  assert.deepEqual(result.offloads, [true, true, true]);
});

test('a segment with a wrong checksum is neither merged nor mended', { skip }, () => {
  for (const damaged of [0, 1, 4, 9]) {
    const flow = new Flow(4000, 1);
    const packets = Array.from({ length: 10 }, (_, index) => flow.next(payload(1000, index)));
    packets[damaged][500] ^= 1;
    const { packets: out } = forward([packets]);
    const expected = packets.map((packet, index) => {
      const next = forwarded(packet);
      // The forwarding kernel does not look at TCP's checksum, so the damage must still show.
      if (index === damaged) next.set(packet.subarray(36, 38), 36);
      return next;
    });
    assert.deepEqual(out[0], expected, `segment ${damaged}`);
    assert.equal(out[0].filter(hasValidChecksums).length, 9);
  }
});

test('whatever differs from its neighbours keeps them apart', { skip }, () => {
  const options = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2);
  const later = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 2);
  const variants: readonly [string, (flow: Flow) => Uint8Array[]][] = [
    ['acknowledgement', (flow) => [flow.next(payload(900, 1)), flow.next(payload(900, 2), { acknowledgement: 2 })]],
    ['window', (flow) => [flow.next(payload(900, 1)), flow.next(payload(900, 2), { window: 501 })]],
    ['timestamps', (flow) => [flow.next(payload(900, 1), { options }), flow.next(payload(900, 2), { options: later })]],
    ['options', (flow) => [flow.next(payload(900, 1), { options }), flow.next(payload(900, 2))]],
    ['a gap', (flow) => [flow.next(payload(900, 1)), (flow.skip(1), flow.next(payload(900, 2)))]],
    ['a longer one', (flow) => [flow.next(payload(900, 1)), flow.next(payload(901, 2))]],
    ['push', (flow) => [flow.next(payload(900, 1), { flags: 0x18 }), flow.next(payload(900, 2))]],
    ['fin', (flow) => [flow.next(payload(900, 1)), flow.next(payload(900, 2), { flags: 0x11 })]],
    ['no payload', (flow) => [flow.next(payload(900, 1)), flow.next(payload(0, 2))]],
    ['a short one before', (flow) => [flow.next(payload(900, 1)), flow.next(payload(9, 1)), flow.next(payload(9, 2))]],
  ];
  const batches = variants.map(([, make], index) => make(new Flow(5000 + index, 77)));
  const result = forward(batches);
  for (const [index, [name]] of variants.entries())
    assert.deepEqual(result.packets[index], batches[index].map(forwarded), name);
  assert.equal(result.counters['coalescedRuns'], 1, 'only the two before the short one');
});

test('random flows arrive as they were sent, each in its order', { skip }, (t) => {
  const random = randomFrom(seeded(t).seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const batches = Array.from({ length: 40 }, (_, round) => {
    const flows = Array.from(
      { length: 1 + below(7) },
      (_unused, index) => new Flow(6000 + round * 10 + index, below(2 ** 32)),
    );
    const packets: Uint8Array[] = [];
    let datagrams = 0;
    while (packets.length < 100) {
      const flow = flows[below(flows.length)];
      const length = [1200, 1200, 700, 1][below(4)];
      for (let left = below(12); left > 0; left--) {
        const kind = below(20);
        if (kind <= 2) {
          const inner = randomBytesFrom(random, kind === 0 ? below(800) : 200);
          packets.push(udpPacket(['10.8.0.2', 7], ['10.9.0.2', 7], inner, datagrams++));
        } else if (kind === 3) packets.push(flow.next(payload(0, 0), { flags: TcpFlag.Ack }));
        else if (kind === 4) flow.skip(below(3));
        else
          packets.push(
            flow.next(randomBytesFrom(random, kind === 5 ? below(length) + 1 : length), {
              flags: kind === 6 ? 0x18 : 0x10,
            }),
          );
      }
    }
    return packets;
  });
  const result = forward(batches);
  for (const [round, packets] of batches.entries()) {
    const byFlow = (list: readonly Uint8Array[]): Record<string, string[]> => {
      const flows: Record<string, string[]> = {};
      for (const packet of list)
        (flows[`${packet[9]} ${packet[20]} ${packet[21]}`] ??= []).push(Buffer.from(packet).toString('hex'));
      return flows;
    };
    assert.deepEqual(byFlow(result.packets[round]), byFlow(packets.map(forwarded)), `round ${round}`);
  }
  assert.ok(result.counters['coalescedRuns'] > 40);
});

test('a run above the path MTU is sent singly, and the next one from the start', { skip }, () => {
  const { oversizeReceived, counters } = forward([], { count: 20, bytes: 1528 });
  assert.equal(oversizeReceived, 40);
  assert.equal(counters['gsoRefused'], 1);
  assert.equal(counters['sendErrors'], 0);
});

/** UDP datagrams of one flow, numbered from `id` up. */
function datagrams(port: number, sizes: readonly number[], id = 1): Uint8Array[] {
  return sizes.map((size, index) =>
    udpPacket(['10.8.0.2', port], ['10.9.0.2', 53], payload(size, index), (id + index) & 0xffff),
  );
}

test('datagrams of one flow are written once, read as a super-packet and sealed as they were', { skip }, () => {
  const packets = datagrams(4000, [...Array.from({ length: 50 }, () => 64), 7], 0xfff0);
  const result = forward([packets]);
  assert.deepEqual(result.packets[0], packets.map(forwarded));
  assert.ok(result.packets[0].every(hasValidChecksums));
  assert.deepEqual([result.counters['tunWrites'], result.counters['coalescedRuns']], [1, 1]);
  assert.equal(result.reads[0], 1, 'the far device reads one super-packet');
});

test('a datagram with a wrong checksum, or without one, is neither merged nor mended', { skip }, () => {
  for (const change of ['wrong', 'none']) {
    const packets = datagrams(4000, [500, 500, 500, 500]);
    if (change === 'wrong') packets[2][100] ^= 1;
    else packets[2].fill(0, 26, 28);
    const { packets: out, counters } = forward([packets]);
    const expected = packets.map((packet, index) => {
      const next = forwarded(packet);
      if (index === 2) next.set(packet.subarray(26, 28), 26);
      return next;
    });
    assert.deepEqual(out[0], expected, change);
    assert.equal(counters['coalescedRuns'], 1, 'only the two before it');
  }
});

test('whatever differs from its neighbours keeps datagrams apart', { skip }, () => {
  const change = (packets: Uint8Array[], at: number, value: number): Uint8Array[] => {
    packets[1][at] = value;
    packets.forEach(mendChecksums);
    return packets;
  };
  const fragmentable = (packets: Uint8Array[]): Uint8Array[] => {
    for (const packet of packets) packet[6] = 0;
    return packets;
  };
  const variants: readonly [string, Uint8Array[]][] = [
    ['a longer one', datagrams(5000, [90, 91])],
    ['no payload', datagrams(5001, [90, 0])],
    ['type of service', change(datagrams(5002, [90, 90]), 1, 4)],
    ['time to live', change(datagrams(5003, [90, 90]), 8, 33)],
    ['an id out of turn, where it may be fragmented', change(fragmentable(datagrams(5004, [90, 90])), 5, 9)],
    ['other ports', [...datagrams(5005, [90]), ...datagrams(5006, [90])]],
    ['a short one before', datagrams(5007, [90, 9, 9])],
  ];
  const result = forward(variants.map(([, packets]) => packets));
  for (const [index, [name, packets]] of variants.entries())
    assert.deepEqual(result.packets[index], packets.map(forwarded), name);
  assert.equal(result.counters['coalescedRuns'], 1, 'only the two before the short one');
});
