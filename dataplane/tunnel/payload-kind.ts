import { Framing } from './peer-table.ts';
import { PING_PAYLOAD } from './sealer.ts';

/** What a decrypted payload is, before any look at IP. */
export const PayloadKind = { Packet: 0, Ping: 1, ExitNotice: 2, OtherControl: 3, Malformed: 4 } as const;
export type PayloadKind = (typeof PayloadKind)[keyof typeof PayloadKind];

/**
 * The bytes of framing before the payload: 0, 1 (comp-lzo) or 2 (stub-v2 escape).
 * −1: compressed, which is never accepted (VORACLE). −2: no framing that this peer may use.
 */
export function framingBytes(bytes: Uint8Array, offset: number, length: number, framing: number): number {
  if (framing === Framing.None || length === 0) return 0;
  const first = bytes[offset];
  if (framing === Framing.CompLzo) {
    if (first === LZO_STUB) return 1;
    return first === LZO_COMPRESSED || first === LZ4_COMPRESSED ? -1 : -2;
  }
  if (first !== STUB_V2_ESCAPE) return 0;
  if (length < 2) return -2;
  // A stock sender escapes with 0a where the text says 00.
  return bytes[offset + 1] === 0x00 || bytes[offset + 1] === 0x0a ? 2 : -1;
}

/** Tells pings and OCC messages from packets. */
export function payloadKind(bytes: Uint8Array, offset: number, length: number): PayloadKind {
  if (length === 0) return PayloadKind.Malformed;
  const first = bytes[offset];
  if (first === PING_PAYLOAD[0] && length === PING_PAYLOAD.length && startsWith(bytes, offset, PING_PAYLOAD)) {
    return PayloadKind.Ping;
  }
  if (first === OCC_MAGIC[0] && length > OCC_MAGIC.length && startsWith(bytes, offset, OCC_MAGIC)) {
    return bytes[offset + OCC_MAGIC.length] === OCC_EXIT ? PayloadKind.ExitNotice : PayloadKind.OtherControl;
  }
  return PayloadKind.Packet;
}

function startsWith(bytes: Uint8Array, offset: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) {
    if (bytes[offset + i] !== wanted[i]) return false;
  }
  return true;
}

const LZO_STUB = 0xfa;
const LZO_COMPRESSED = 0x66;
const LZ4_COMPRESSED = 0x69;
const STUB_V2_ESCAPE = 0x50;
const OCC_EXIT = 6;
const OCC_MAGIC = Uint8Array.from([
  0x28, 0x7f, 0x34, 0x6b, 0xd4, 0xef, 0x7a, 0x81, 0x2d, 0x56, 0xb8, 0xd3, 0xaf, 0xc5, 0x45, 0x9c,
]);
