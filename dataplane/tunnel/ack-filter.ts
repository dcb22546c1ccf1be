import { type Ipv4View, PROTOCOL_TCP, readInt32 } from '../policy/ip-packet.ts';
import type { PacketBatch } from './packet-batch.ts';

/**
 * Finds the acknowledgements of TCP that a later one of the same batch makes redundant (docs/adr/0006).
 *
 * Only a pure acknowledgement gives way, and only to one of the same flow with a higher number: no payload, no flag but
 * ACK, no option but timestamps. So duplicates, selective acknowledgements, window updates and ECN marks all arrive.
 */
export class AckFilter {
  /** Slots of pure acknowledgements in this batch, one for each flow; −1 for none. */
  readonly #slots = new Int32Array(FLOWS).fill(-1);
  #next = 0;

  /** A new batch begins. */
  reset(): void {
    if (this.#slots[0] >= 0) this.#slots.fill(-1);
    this.#next = 0;
  }

  /** Takes note of the packet in `slot`, which `packet` views. @returns the slot of what it makes redundant, −1 for none. */
  supersedes(batch: PacketBatch, slot: number, packet: Ipv4View): number {
    if (packet.protocol !== PROTOCOL_TCP) return -1;
    const { bytes } = batch;
    if (!isPureAck(bytes, packet)) {
      this.reset();
      return -1;
    }
    for (let flow = 0; flow < FLOWS; flow++) {
      const older = this.#slots[flow];
      if (older < 0) break;
      if (!isSameFlow(bytes, batch.offset[older], packet.offset) || batch.length[older] !== packet.totalBytes) continue;
      this.#slots[flow] = slot;
      const advance = readInt32(bytes, packet.offset + ACK_AT) - readInt32(bytes, batch.offset[older] + ACK_AT);
      return (advance | 0) > 0 ? older : -1;
    }
    this.#slots[this.#next] = slot;
    this.#next = (this.#next + 1) % FLOWS;
    return -1;
  }
}

function isPureAck(bytes: Uint8Array, packet: Ipv4View): boolean {
  const { offset, totalBytes } = packet;
  if (packet.headerBytes !== IP_BYTES || packet.fragmentOffset !== 0) return false;
  if (totalBytes === IP_BYTES + 20) return bytes[offset + FLAGS_AT - 1] === 0x50 && bytes[offset + FLAGS_AT] === ACK;
  return (
    totalBytes === IP_BYTES + 32 &&
    bytes[offset + FLAGS_AT - 1] === 0x80 &&
    bytes[offset + FLAGS_AT] === ACK &&
    readInt32(bytes, offset + IP_BYTES + 20) === PADDED_TIMESTAMP
  );
}

/** Addresses, ports, type of service and sequence number. */
function isSameFlow(bytes: Uint8Array, a: number, b: number): boolean {
  for (let at = 12; at < 28; at += 4) if (readInt32(bytes, a + at) !== readInt32(bytes, b + at)) return false;
  return bytes[a + 1] === bytes[b + 1];
}

const FLOWS = 4;
const IP_BYTES = 20;
const ACK_AT = IP_BYTES + 8;
const FLAGS_AT = IP_BYTES + 13;
const ACK = 0x10;
/** Two NOPs, then timestamps: kind 8 of 10 bytes. */
const PADDED_TIMESTAMP = 0x0101080a;
