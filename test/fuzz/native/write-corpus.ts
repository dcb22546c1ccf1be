// Writes what packets-fuzzer.cc begins with into a folder: segments that belong together, and super-packets.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { concatBytes } from '../../../dataplane/protocol/bytes.ts';
import { tcpPacket, udpPacket } from '../../support/ip-twin.ts';

const [folder = '.'] = process.argv.slice(2);
const SOURCE = ['10.8.0.2', 1000] as const;
const DESTINATION = ['10.1.0.9', 443] as const;
const tcp = (sequence: number, bytes: number): Uint8Array =>
  tcpPacket({ source: SOURCE, destination: DESTINATION, sequence, payload: new Uint8Array(bytes).fill(3) });
const withLength = (packet: Uint8Array): Uint8Array =>
  concatBytes(Uint8Array.of(packet.length & 255, packet.length >> 8), packet);

const INPUTS = {
  run: concatBytes(Uint8Array.of(1), ...[0, 100, 200, 300].map((sequence) => withLength(tcp(sequence, 100)))),
  'two-runs': concatBytes(Uint8Array.of(1), ...[0, 100, 900, 1000].map((sequence) => withLength(tcp(sequence, 100)))),
  tcp: concatBytes(Uint8Array.of(0, 1, 100, 0), tcp(1, 500)),
  udp: concatBytes(Uint8Array.of(0, 0, 100, 0), udpPacket(SOURCE, DESTINATION, new Uint8Array(500))),
};
for (const [name, bytes] of Object.entries(INPUTS)) writeFileSync(join(folder, name), bytes);
