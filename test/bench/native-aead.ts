// Prints nanoseconds per packet of open and seal, and of a 64 KB super-packet cut into segments and sealed.
// Nothing here asserts a time: node test/bench/native-aead.ts
import { cpus } from 'node:os';
import type { DataCipher } from '../../dataplane/data-channel.ts';
import { loadAddon } from '../../dataplane/io/load-addon.ts';
import { countingBytes } from '../support/hex.ts';
import { tcpPacket } from '../support/ip-twin.ts';
import { NativeBatch } from '../support/native-batch.ts';

const addon = loadAddon();
const SLOTS = 64;
const ROUNDS = 2000;
const input = new NativeBatch(addon, { capacity: SLOTS, bytes: 1 << 20, rows: 1 });
const output = new NativeBatch(addon, { capacity: 4096, bytes: 1 << 20, rows: 1 });

function install(cipher: DataCipher, epochFormat: boolean): number {
  const bytes = epochFormat
    ? 32
    : { 'AES-128-GCM': 16, 'AES-192-GCM': 24, 'AES-256-GCM': 32, 'CHACHA20-POLY1305': 32 }[cipher];
  const half = { key: countingBytes(bytes, 1), iv: countingBytes(8) };
  // Both directions alike, so that it opens what it seals.
  const directions = { encryptKey: half.key, encryptIv: half.iv, decryptKey: half.key, decryptIv: half.iv };
  return addon.keyInstall({ cipher, epochFormat, ...directions });
}

function timed(packets: number, run: () => void): number {
  for (let round = 0; round < ROUNDS / 10; round++) run();
  const start = process.hrtime.bigint();
  for (let round = 0; round < ROUNDS; round++) run();
  return Number(process.hrtime.bigint() - start) / ROUNDS / packets;
}

function sealAll(key: number, packets: readonly Uint8Array[]): () => void {
  const count = input.lay(packets);
  input.arrays.key.fill(key);
  input.arrays.header.fill(0x48000001);
  return () => {
    addon.seal(input.handle, 0, count, output.handle);
  };
}

/** Opening spoils its input, so each round puts it back first; what that costs is measured apart. */
function openAll(key: number): { run: () => void; restore: () => void } {
  const { arrays } = output;
  const count = arrays.count[0];
  const end = arrays.offset[count - 1] + arrays.length[count - 1];
  const saved = [arrays.bytes.slice(0, end), arrays.offset.slice(), arrays.length.slice()] as const;
  arrays.key.fill(key);
  const restore = (): void => {
    arrays.bytes.set(saved[0]);
    arrays.offset.set(saved[1]);
    arrays.length.set(saved[2]);
  };
  const run = (): void => {
    restore();
    if (addon.open(output.handle, count) !== count) throw new RangeError('not opened');
  };
  return { run, restore };
}

console.log(`${cpus()[0]?.model ?? process.arch}, Node ${process.version}, batches of ${SLOTS}`);
const nothing = timed(1, () => addon.seal(input.handle, 0, 0, output.handle));
console.log(`an empty call: ${nothing.toFixed(0)} ns`);
for (const [cipher, epochs] of [
  ['AES-128-GCM', false],
  ['AES-256-GCM', false],
  ['AES-256-GCM', true],
  ['CHACHA20-POLY1305', false],
] as const)
  for (const size of [64, 1400]) {
    const key = install(cipher, epochs);
    const sealing = timed(
      SLOTS,
      sealAll(
        key,
        Array.from({ length: SLOTS }, () => new Uint8Array(size)),
      ),
    );
    const { run, restore } = openAll(key);
    const opening = timed(SLOTS, run) - timed(SLOTS, restore);
    const gbps = (size * 8) / sealing;
    const name = `${cipher}${epochs ? ' epoch' : ''}`;
    console.log(
      `${name} ${size} bytes: seal ${sealing.toFixed(0)} ns (${gbps.toFixed(1)} Gbit/s), open ${opening.toFixed(0)} ns`,
    );
  }

const ends = { source: ['10.0.0.1', 80], destination: ['10.8.0.2', 4000], sequence: 1 } as const;
const superPacket = tcpPacket({ ...ends, payload: new Uint8Array(64_000) });
const run = sealAll(install('AES-256-GCM', false), [superPacket]);
input.arrays.offload[0] = 0x81;
input.arrays.segmentBytes[0] = 1348;
// Sealing uses its input up: the first packet's headers go over the super-packet's.
const perSuper = timed(1, () => {
  input.arrays.bytes.set(superPacket.subarray(0, 40), input.arrays.offset[0]);
  run();
});
const segments = output.arrays.count[0];
console.log(
  `TSO 64 KB into ${segments}: ${(perSuper / segments).toFixed(0)} ns per segment, ${((64_000 * 8) / perSuper).toFixed(1)} Gbit/s`,
);
