// The addon's boundary: batches whose offsets, lengths, counts, rows, keys and handles lie, packets that were mutated
// before and after they were sealed, super-packets whose headers lie. `make fuzz-native` runs it under AddressSanitizer
// and UndefinedBehaviorSanitizer. FUZZ_ITERATIONS sets the slots per test, FUZZ_SECONDS the time per test instead.
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { after, test } from 'node:test';
import { loadAddon } from '../../dataplane/io/load-addon.ts';
import { SlotVerdict } from '../../dataplane/io/native-addon.ts';
import { fuzzAddon } from '../support/fuzz-addon.ts';
import { countingBytes } from '../support/hex.ts';
import { tcpPacket, udpPacket } from '../support/ip-twin.ts';
import { mutate } from '../support/mutation.ts';
import { NativeBatch } from '../support/native-batch.ts';

const CAPACITY = 64;
const SIZE = { capacity: CAPACITY, bytes: 1 << 18, rows: 4, regionBytes: 2048 };
/** What the kernel writes in front of a packet of a TUN queue. */
const VNET_HEADER_BYTES = 10;

const addon = loadAddon();
const devNull = openSync('/dev/null', 'w');
after(() => closeSync(devNull));

const KEYS = [
  ['AES-128-GCM', 16, false],
  ['AES-256-GCM', 32, false],
  ['CHACHA20-POLY1305', 32, false],
  ['AES-256-GCM', 32, true],
] as const;

const SOURCE = ['10.8.0.2', 1000] as const;
const DESTINATION = ['10.1.0.9', 443] as const;
const INNER = [
  tcp(new Uint8Array(1300).fill(7)),
  tcp(new Uint8Array(0)),
  udpPacket(SOURCE, DESTINATION, new Uint8Array(100).fill(9)),
  new Uint8Array(1),
];

test('open: mutated packets of every format are opened or refused by name', async (context) => {
  const keys = KEYS.map(([cipher, keyBytes, epochFormat]) => pairOfKeys(cipher, keyBytes, epochFormat));
  const [plain, sealed] = [new NativeBatch(addon, SIZE), new NativeBatch(addon, SIZE)];
  await fuzzAddon(
    context,
    ({ below, random, reached }) => {
      const pair = keys[below(keys.length)];
      const count = plain.lay(Array.from({ length: 16 }, () => INNER[below(INNER.length)]));
      plain.arrays.key.fill(pair.server);
      plain.arrays.header.fill(pair.epochFormat || random() < 0.7 ? 0x48000001 : 0x30000000);
      addon.seal(plain.handle, 0, count, sealed.handle);
      const packets = sealed.packets(sealed.arrays.count[0]);
      const batch = packets.map((packet) => (random() < 0.5 ? packet : mutate(packets, random)));
      sealed.lay(batch);
      sealed.arrays.key.fill(pair.client);
      addon.open(sealed.handle, batch.length);
      for (let slot = 0; slot < batch.length; slot += 1) {
        const verdict = sealed.arrays.verdict[slot];
        reached(verdict === SlotVerdict.Opened ? 'opened' : `refused ${verdict}`);
        assert.notEqual(verdict, SlotVerdict.Send);
      }
      return batch.length;
    },
    ['opened', `refused ${SlotVerdict.BadTag}`, `refused ${SlotVerdict.TooShort}`],
  );
});

test('seal: super-packets whose headers lie are sealed whole or refused by name', async (context) => {
  const keys = KEYS.map(([cipher, keyBytes, epochFormat]) => pairOfKeys(cipher, keyBytes, epochFormat));
  const input = new NativeBatch(addon, SIZE);
  const output = new NativeBatch(addon, { ...SIZE, capacity: 512, bytes: 1 << 19 });
  await fuzzAddon(
    context,
    ({ below, random, edge, reached }) => {
      const count = input.lay(Array.from({ length: 12 }, () => superPacket(random, below)));
      const { arrays } = input;
      for (let slot = 0; slot < count; slot += 1) {
        const pair = keys[below(keys.length)];
        arrays.key[slot] = pair.server;
        arrays.header[slot] = random() < 0.8 ? 0x48000001 : random() < 0.5 ? 0x30000000 : edge(32);
        arrays.offload[slot] = [0, 1, 5, 0x80, 0x81, 0x85, edge(8)][below(7)];
        arrays.segmentBytes[slot] = random() < 0.6 ? 100 + below(1400) : edge(16);
        arrays.headerBytes[slot] = edge(16);
        arrays.checksumStart[slot] = random() < 0.5 ? 20 : edge(16);
        arrays.checksumOffset[slot] = random() < 0.5 ? 16 : edge(16);
        arrays.flags[slot] = below(4);
      }
      for (let next = 0; next < count;) {
        const before = next;
        next = addon.seal(input.handle, next, count, output.handle);
        const made = output.arrays.count[0];
        reached('sealed', made);
        for (let slot = 0; slot < made; slot += 1) assert.ok(output.arrays.length[slot] <= 65_537);
        assert.ok(next > before, 'sealing goes on');
      }
      for (let slot = 0; slot < count; slot += 1)
        if (arrays.verdict[slot] === SlotVerdict.Unsealable) reached('unsealable');
      return count;
    },
    ['sealed', 'unsealable'],
  );
});

test('tunWrite: segments that almost belong together are coalesced within their memory', async (context) => {
  const batch = new NativeBatch(addon, SIZE);
  const before = addon.counters()['coalescedRuns'];
  await fuzzAddon(
    context,
    ({ below, random, reached }) => {
      const flow = below(3);
      let sequence = below(2 ** 32);
      const packets = Array.from({ length: 32 }, () => {
        const payload = new Uint8Array([1200, 1200, 1200, below(1400)][below(4)]).fill(3);
        const packet = tcp(payload, sequence, 1000 + (random() < 0.9 ? flow : below(6)));
        sequence = (sequence + (random() < 0.95 ? payload.length : below(3000))) >>> 0;
        return random() < 0.9 ? packet : mutate([packet], random);
      });
      const count = batch.lay(packets);
      reached('written', addon.tunWrite(devNull, batch.handle, count, 1));
      return count;
    },
    ['written'],
  );
  assert.ok(addon.counters()['coalescedRuns'] > before, 'segments were joined');
});

test('tunWrite: datagrams that almost belong together are coalesced within their memory', async (context) => {
  const batch = new NativeBatch(addon, SIZE);
  const before = addon.counters()['coalescedRuns'];
  await fuzzAddon(
    context,
    ({ below, random, reached }) => {
      const size = below(1400);
      const packets = Array.from({ length: 32 }, (_, index) => {
        const payload = new Uint8Array(random() < 0.9 ? size : below(1400)).fill(3);
        const port = 1000 + (random() < 0.9 ? 0 : below(6));
        const packet = udpPacket(['10.8.0.2', port], ['10.9.0.2', 53], payload, index);
        return random() < 0.9 ? packet : mutate([packet], random);
      });
      const count = batch.lay(packets);
      reached('written', addon.tunWrite(devNull, batch.handle, count, 1));
      return count;
    },
    ['written'],
  );
  assert.ok(addon.counters()['coalescedRuns'] > before, 'datagrams were joined');
});

test('tunRead: whatever the device says of its packets, what becomes of them stays in bounds', async (context) => {
  const keys = KEYS.map(([cipher, keyBytes, epochFormat]) => pairOfKeys(cipher, keyBytes, epochFormat));
  const local = { port: 0, gro: false, receiveBufferBytes: 0, sendBufferBytes: 0 };
  const [device, kernel] = [
    addon.udpOpen({ address: '127.0.0.1', ...local }),
    addon.udpOpen({ address: '127.0.0.1', ...local }),
  ];
  const to = addon.parseAddress('127.0.0.1', device.port);
  const batch = new NativeBatch(addon, { ...SIZE, bytes: 1 << 20 });
  const output = new NativeBatch(addon, { ...SIZE, capacity: 512, bytes: 1 << 19 });
  context.after(() => [device, kernel].forEach(({ fd }) => addon.close(fd)));
  await fuzzAddon(
    context,
    ({ below, random, edge, reached }) => {
      for (let sent = 0; sent < 8; sent += 1) {
        const packet = superPacket(random, below).subarray(0, 30_000);
        const bytes = new Uint8Array(VNET_HEADER_BYTES + packet.length);
        const view = new DataView(bytes.buffer);
        bytes[0] = [0, 1, edge(8)][below(3)];
        bytes[1] = [0, 1, 5, 0x81, edge(8)][below(5)];
        for (const at of [2, 4, 6, 8])
          view.setUint16(at, random() < 0.5 ? [40, 1200, 20, 16][at / 2 - 1] : edge(16), true);
        bytes.set(packet, VNET_HEADER_BYTES);
        addon.udpSendTo(kernel.fd, random() < 0.05 ? bytes.subarray(0, below(12)) : bytes, to);
      }
      const slots = Math.max(0, addon.tunRead(device.fd, batch.handle));
      reached('read', slots);
      const { arrays } = batch;
      for (let slot = 0; slot < slots; slot += 1) {
        arrays.verdict[slot] = SlotVerdict.Send;
        arrays.key[slot] = keys[below(keys.length)].server;
        arrays.header[slot] = 0x48000001;
        arrays.flags[slot] = below(4);
      }
      for (let next = 0; next < slots;) {
        next = addon.seal(batch.handle, next, slots, output.handle);
        reached('sealed', output.arrays.count[0]);
      }
      return Math.max(1, slots);
    },
    ['read', 'sealed'],
  );
});

test('every number of a batch may lie, in every call', async (context) => {
  const batches = [new NativeBatch(addon, SIZE), new NativeBatch(addon, SIZE)];
  const { server } = pairOfKeys('AES-128-GCM', 16, false);
  const socket = addon.udpOpen({ address: '127.0.0.1', port: 0, gro: true, receiveBufferBytes: 0, sendBufferBytes: 0 });
  const poll = addon.pollCreate();
  context.after(() => [socket.fd, poll].forEach((fd) => addon.close(fd)));
  await fuzzAddon(
    context,
    ({ below, random, edge, reached }) => {
      const { arrays } = batches[below(2)];
      for (let slot = 0; slot < CAPACITY; slot += 1) {
        arrays.offset[slot] = random() < 0.7 ? below(SIZE.bytes) : edge(32);
        arrays.length[slot] = random() < 0.7 ? below(3000) : edge(32);
        arrays.verdict[slot] = random() < 0.8 ? SlotVerdict.Send : edge(8);
        arrays.key[slot] = random() < 0.8 ? server : edge(32);
        arrays.peer[slot] = random() < 0.8 ? below(4) : edge(32);
        arrays.source[slot] = edge(32);
        arrays.header[slot] = random() < 0.7 ? 0x48000001 : edge(32);
        arrays.flags[slot] = edge(8);
        arrays.offload[slot] = edge(8);
        arrays.segmentBytes[slot] = edge(16);
        arrays.checksumStart[slot] = edge(16);
        arrays.checksumOffset[slot] = edge(16);
      }
      arrays.count[0] = edge(32);
      const count = [1, CAPACITY, below(CAPACITY + 1), edge(32) | 0][below(4)];
      const [first, second] = batches.map(({ handle }) => handle);
      const handle = random() < 0.9 ? first : edge(32) | 0;
      const into = new Uint8Array(below(64));
      const calls: readonly (() => unknown)[] = [
        () => addon.open(handle, count),
        () => addon.seal(handle, below(CAPACITY), count, second),
        () => addon.seal(second, 0, count, handle),
        () => addon.tunWrite(devNull, handle, count, 1),
        () => addon.udpSend(socket.fd, handle, count),
        () => addon.udpReceive(socket.fd, handle),
        () => addon.tcpSend(devNull, into, edge(32) | 0, edge(32) | 0),
        () => addon.tcpReceive(socket.fd, into, edge(32) | 0, edge(32) | 0),
        () => addon.pollWait(poll, 0, new Int32Array(below(4)), new Uint8Array(below(4))),
        () => addon.pause(below(3)),
        () => addon.keyUsage(edge(32) | 0, new Float64Array(below(9))),
        () => addon.countersInto(new Float64Array(below(30))),
        () => addon.formatAddress(new Uint8Array(below(70)).fill(edge(8))),
        () => addon.udpSendTo(socket.fd, into, new Uint8Array(below(70)).fill(edge(8))),
      ];
      calls[below(calls.length)]();
      reached('taken');
      return 1;
    },
    ['taken', 'refused as misuse'],
  );
});

/** A TCP or UDP packet of up to 60,000 bytes, perhaps mutated where its headers are. */
function superPacket(random: () => number, below: (limit: number) => number): Uint8Array {
  const payload = new Uint8Array(below(random() < 0.2 ? 20_000 : 3_000)).fill(5);
  const packet = random() < 0.7 ? tcp(payload) : udpPacket(SOURCE, DESTINATION, payload);
  if (random() < 0.6) return packet;
  const head = mutate([packet.subarray(0, 60)], random);
  const bytes = new Uint8Array(head.length + payload.length);
  bytes.set(head);
  return bytes;
}

function tcp(payload: Uint8Array, sequence = 1, port = 1000): Uint8Array {
  return tcpPacket({ source: [SOURCE[0], port], destination: DESTINATION, sequence, payload });
}

function pairOfKeys(cipher: string, keyBytes: number, epochFormat: boolean) {
  const secretBytes = epochFormat ? 32 : keyBytes;
  const [up, down] = [countingBytes(secretBytes, 1), countingBytes(secretBytes, 99)];
  const iv = countingBytes(8, 50);
  const key = { cipher, epochFormat, encryptIv: iv, decryptIv: iv };
  const server = addon.keyInstall({ ...key, encryptKey: down, decryptKey: up });
  const client = addon.keyInstall({ ...key, encryptKey: up, decryptKey: down });
  return { server, client, epochFormat };
}
