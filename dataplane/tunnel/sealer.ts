import type { Ipv4View } from '../policy/ip-packet.ts';
import { ICMP_REPLY_MAX_BYTES, writeUnreachable } from '../policy/icmp-reply.ts';
import { DropReason } from './drop-reason.ts';
import type { ForwarderPort } from './forwarder-port.ts';
import { type PacketBatch, PacketVerdict } from './packet-batch.ts';
import type { PeerTable } from './peer-table.ts';
import type { ThreadCounters } from './thread-counters.ts';

/** The way out to clients: picks the sending key, seals whole batches, and makes our own small packets. */
export class Sealer {
  readonly #port: ForwarderPort;
  readonly #peers: PeerTable;
  readonly #counters: ThreadCounters;
  readonly #output: PacketBatch;
  readonly #replies: PacketBatch;
  #replyCount = 0;

  /** @param output room for at least one sealed super-packet. @param replies slots of REPLY_SLOT_BYTES. */
  constructor(
    port: ForwarderPort,
    peers: PeerTable,
    counters: ThreadCounters,
    output: PacketBatch,
    replies: PacketBatch,
  ) {
    this.#port = port;
    this.#peers = peers;
    this.#counters = counters;
    this.#output = output;
    this.#replies = replies;
  }

  /** Readies a slot to be sealed for `peer`: verdict Send, or Dropped without a key to send with. */
  address(batch: PacketBatch, slot: number, peer: number, now: number): boolean {
    const { keys } = this.#peers;
    const key = keys.sealHandle(peer);
    if (key < 0) {
      batch.verdict[slot] = PacketVerdict.Dropped;
      this.#counters.drop(DropReason.NoKey);
      return false;
    }
    batch.key[slot] = key;
    batch.peer[slot] = peer;
    batch.header[slot] = this.#peers.header[peer] | (keys.sealKeyId(peer) << 24);
    batch.flags[slot] = this.#peers.wireFlags[peer];
    batch.verdict[slot] = PacketVerdict.Send;
    this.#peers.lastSent[peer] = now;
    return true;
  }

  /** Seals and sends slots [0, count) with verdict Send. */
  sealAndTransmit(batch: PacketBatch, count: number): void {
    const output = this.#output;
    let from = 0;
    while (from < count) {
      const next = this.#port.seal(batch, from, count, output);
      const sealed = output.count[0];
      if (sealed > 0) {
        this.#port.transmit(output, sealed);
      }
      // The addon consumes what can never fit, so this only guards against an endless loop.
      if (next <= from) break;
      from = next;
    }
    for (let slot = 0; slot < count; slot++) {
      const verdict = batch.verdict[slot];
      if (verdict === PacketVerdict.KeyExhausted) this.#counters.drop(DropReason.NoKey);
      else if (verdict === PacketVerdict.Unsealable) this.#counters.drop(DropReason.Unsealable);
    }
  }

  ping(peer: number, now: number): void {
    const slot = this.#takeReply();
    const at = slot * REPLY_SLOT_BYTES;
    this.#replies.bytes.set(PING_PAYLOAD, at);
    this.#replies.setPlain(slot, at, PING_PAYLOAD.length);
    this.address(this.#replies, slot, peer, now);
  }

  /** Answers a client's packet with an ICMP error from `gateway`. */
  unreachable(
    bytes: Uint8Array,
    packet: Ipv4View,
    gateway: number,
    code: number,
    extra: number,
    peer: number,
    now: number,
  ): void {
    const slot = this.#takeReply();
    const at = slot * REPLY_SLOT_BYTES;
    const length = writeUnreachable(bytes, packet, gateway, code, extra, this.#replies.bytes, at);
    this.#replies.setPlain(slot, at, length);
    this.address(this.#replies, slot, peer, now);
  }

  /** Sends the pings and ICMP errors made since the last call. */
  flush(): void {
    const count = this.#replyCount;
    if (count === 0) return;
    this.#replyCount = 0;
    this.sealAndTransmit(this.#replies, count);
  }

  #takeReply(): number {
    if (this.#replyCount === this.#replies.slots) this.flush();
    return this.#replyCount++;
  }
}

/** Room for the largest ICMP error and for a ping. */
export const REPLY_SLOT_BYTES = (ICMP_REPLY_MAX_BYTES + 15) & ~15;

/** Exactly this payload is a ping: counts as life, is never answered. */
export const PING_PAYLOAD = Uint8Array.from([
  0x2a, 0x18, 0x7b, 0xf3, 0x64, 0x1e, 0xb4, 0xcb, 0x07, 0xed, 0x2d, 0x0a, 0x98, 0x1f, 0xc7, 0x48,
]);
