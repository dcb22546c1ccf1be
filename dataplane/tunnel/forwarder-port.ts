import type { PacketBatch } from './packet-batch.ts';

/** What the forwarder needs from its thread: the addon's ciphers, the ways out, and the other threads. */
export interface ForwarderPort {
  /** Opens slots [0, count) with key ≥ 0 in place; see NativeAddon.open. */
  open(batch: PacketBatch, count: number): void;
  /** Seals slots [from, count) with verdict Send. @returns the next slot not consumed; `output.count[0]` slots are filled. */
  seal(input: PacketBatch, from: number, count: number, output: PacketBatch): number;
  keyUsage(handle: number, out: Float64Array): void;
  /** Writes slots [0, count) with verdict Send to the TUN. */
  writeNetwork(batch: PacketBatch, count: number): void;
  /** Sends sealed slots [0, count) to their peers. */
  transmit(output: PacketBatch, count: number): void;

  /** Hands a wire packet to the thread that owns its peer. @returns false when that ring is full. */
  passWire(peerId: number, batch: PacketBatch, slot: number): boolean;
  /** Hands an inner packet to the thread of its client; `Checked`: access was granted. @returns false when that ring is full. */
  passInner(peerId: number, batch: PacketBatch, slot: number, access: InnerAccess): boolean;
  /** Hands a data packet without a peer id to the control thread, which knows who lives at its address. */
  passUnowned(batch: PacketBatch, slot: number): void;
  /** Hands a control packet to the control thread. @param connection of the thread's TCP table, −1 for UDP. */
  passControl(batch: PacketBatch, slot: number, connection: number, standing: 'known' | 'stranger'): void;
  /** @returns false when the message found no room: try again later. */
  notify(event: PeerEvent, peer: number, keyId: number): boolean;
  /** A valid packet of `peer` came from `row` of the batch's remotes. @returns false when it found no room. */
  notifyFloat(peer: number, batch: PacketBatch, row: number): boolean;
  /** Ends a TCP connection whose peer broke the rules. */
  closeStream(connection: number, reason: string): void;
}

export type PeerEvent = 'keepaliveLost' | 'exitNotified' | 'keySwitched' | 'keyExhausted';
export type InnerAccess = 'Checked' | 'Unchecked';
