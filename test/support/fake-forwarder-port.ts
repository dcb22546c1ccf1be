import type { ForwarderPort, InnerAccess, PeerEvent } from '../../dataplane/tunnel/forwarder-port.ts';
import { type BatchRegistry, type PacketBatch, PacketVerdict } from '../../dataplane/tunnel/packet-batch.ts';

/** Batches without an addon. */
export const fakeRegistry: BatchRegistry = { registerBatch: () => 0, releaseBatch: () => undefined };

/**
 * A port that encrypts nothing and remembers everything. A wire packet is
 * [opcode|key id][peer id 3][packet id 4][payload]; a payload of 0xbad 0xbad… stands for a wrong tag.
 */
export class FakeForwarderPort implements ForwarderPort {
  readonly toNetwork: Uint8Array[] = [];
  /** Inner packets by the slot of their peer. */
  readonly toClients: { readonly peer: number; readonly packet: Uint8Array; readonly header: number }[] = [];
  readonly events: { readonly event: PeerEvent | 'floated'; readonly peer: number; readonly keyId: number }[] = [];
  readonly control: { readonly packet: Uint8Array; readonly connection: number; readonly standing: string }[] = [];
  readonly unowned: Uint8Array[] = [];
  readonly wire: { readonly peerId: number; readonly packet: Uint8Array }[] = [];
  readonly inner: { readonly peerId: number; readonly packet: Uint8Array; readonly access: InnerAccess }[] = [];
  readonly closed: number[] = [];
  hasRoom = true;
  usage = new Float64Array(8);

  open(batch: PacketBatch, count: number): void {
    for (let slot = 0; slot < count; slot++) {
      if (batch.key[slot] < 0) continue;
      const { bytes } = batch;
      const at = batch.offset[slot];
      const isV2 = bytes[at] >>> 3 === 9;
      const header = isV2 ? 8 : 5;
      if (batch.length[slot] < header + 1) {
        batch.verdict[slot] = PacketVerdict.TooShort;
        continue;
      }
      batch.packetId[slot] = new DataView(bytes.buffer, bytes.byteOffset).getUint32(at + header - 4);
      batch.epoch[slot] = 0;
      batch.offset[slot] = at + header;
      batch.length[slot] -= header;
      if (batch.packetId[slot] === 0) batch.verdict[slot] = PacketVerdict.BadPacketId;
      else if (bytes[at + header] === 0xba && bytes[at + header + 1] === 0xdb)
        batch.verdict[slot] = PacketVerdict.BadTag;
      else batch.verdict[slot] = PacketVerdict.Opened;
    }
  }

  seal(input: PacketBatch, from: number, count: number, output: PacketBatch): number {
    for (let slot = from; slot < count; slot++) {
      if (input.verdict[slot] !== PacketVerdict.Send || input.key[slot] < 0) continue;
      this.toClients.push({ peer: input.peer[slot], packet: packetIn(input, slot), header: input.header[slot] });
    }
    output.count[0] = 0;
    return count;
  }

  keyUsage(_handle: number, out: Float64Array): void {
    out.set(this.usage);
  }

  writeNetwork(batch: PacketBatch, count: number): void {
    for (let slot = 0; slot < count; slot++) {
      if (batch.verdict[slot] === PacketVerdict.Send) this.toNetwork.push(packetIn(batch, slot));
    }
  }

  transmit(): void {
    // What was sealed is remembered there.
  }

  passWire(peerId: number, batch: PacketBatch, slot: number): boolean {
    if (this.hasRoom) this.wire.push({ peerId, packet: packetIn(batch, slot) });
    return this.hasRoom;
  }

  passInner(peerId: number, batch: PacketBatch, slot: number, access: InnerAccess): boolean {
    if (this.hasRoom) this.inner.push({ peerId, packet: packetIn(batch, slot), access });
    return this.hasRoom;
  }

  passUnowned(batch: PacketBatch, slot: number): void {
    this.unowned.push(packetIn(batch, slot));
  }

  passControl(batch: PacketBatch, slot: number, connection: number, standing: 'known' | 'stranger'): void {
    this.control.push({ packet: packetIn(batch, slot), connection, standing });
  }

  notify(event: PeerEvent, peer: number, keyId: number): boolean {
    if (this.hasRoom) this.events.push({ event, peer, keyId });
    return this.hasRoom;
  }

  notifyFloat(peer: number): boolean {
    if (this.hasRoom) this.events.push({ event: 'floated', peer, keyId: 0 });
    return this.hasRoom;
  }

  closeStream(connection: number): void {
    this.closed.push(connection);
  }
}

export function packetIn(batch: PacketBatch, slot: number): Uint8Array {
  return batch.bytes.slice(batch.offset[slot], batch.offset[slot] + batch.length[slot]);
}
