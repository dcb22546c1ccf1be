import { CODE_FRAGMENTATION_NEEDED, ICMP_REPLY_MAX_BYTES, mayAnswer, writeUnreachable } from '../policy/icmp-reply.ts';
import { Ipv4View, ipVersion, PROTOCOL_ICMP, readInt32 } from '../policy/ip-packet.ts';
import { clampMss } from '../policy/mss-clamp.ts';
import { ACCESS_CLIENT, ACCESS_NETWORK } from './access-check.ts';
import type { ReceiverParts } from './client-receiver.ts';
import { DropReason } from './drop-reason.ts';
import { OFFLOAD_PARTIAL_CHECKSUM, PacketBatch, PacketVerdict } from './packet-batch.ts';

/**
 * Network → client over one batch of packets or super-packets: destination → peer → the same evaluation with the
 * remote address in the destination's place (connection tracking alone lets a one-way stream outlive its rule) → seal.
 */
export class NetworkReceiver {
  readonly #parts: ReceiverParts;
  readonly #packet = new Ipv4View();
  readonly #answer: PacketBatch;
  #now = 0;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
    this.#answer = new PacketBatch(parts.registry, { slots: 1, bytes: ICMP_REPLY_MAX_BYTES });
  }

  /** Slots as tunRead left them, or from other threads: verdict Pending, or ToClient where access was granted. */
  receive(batch: PacketBatch, count: number, now: number): void {
    const { sealer } = this.#parts;
    this.#now = now;
    let toSend = 0;
    for (let slot = 0; slot < count; slot++) {
      this.#handlePacket(batch, slot);
      if (batch.verdict[slot] === PacketVerdict.Send) toSend++;
    }
    if (toSend > 0) sealer.sealAndTransmit(batch, count);
  }

  #handlePacket(batch: PacketBatch, slot: number): void {
    const { peers, port } = this.#parts;
    const packet = this.#packet;
    const offset = batch.offset[slot];
    const length = batch.length[slot];
    if (!packet.read(batch.bytes, offset, length)) {
      const version = ipVersion(batch.bytes, offset, length);
      this.#drop(batch, slot, version === 6 ? DropReason.Ipv6 : DropReason.Malformed);
      return;
    }
    const peerId = peers.peerIdAt(packet.destination);
    if (peerId < 0) {
      this.#drop(batch, slot, DropReason.UnknownDestination);
    } else if (peers.threadOf(peerId) !== peers.thread) {
      if (port.passInner(peerId, batch, slot, 'Unchecked')) batch.verdict[slot] = PacketVerdict.Consumed;
      else this.#drop(batch, slot, DropReason.RingFull);
    } else {
      const peer = peers.slotOf(peerId);
      if (peer < 0) this.#drop(batch, slot, DropReason.UnknownDestination);
      else this.#sendTo(batch, slot, peer);
    }
  }

  #sendTo(batch: PacketBatch, slot: number, peer: number): void {
    const { peers, sealer } = this.#parts;
    const packet = this.#packet;
    if (batch.verdict[slot] !== PacketVerdict.ToClient) {
      const refusal = this.#refusal(batch.bytes, peer);
      if (refusal !== 0) {
        this.#drop(batch, slot, refusal);
        return;
      }
    }
    const segmentBytes = batch.segmentBytes[slot];
    const headerBytes = batch.headerBytes[slot];
    const single = segmentBytes === 0 || packet.totalBytes <= headerBytes + segmentBytes;
    const packetBytes = single ? packet.totalBytes : headerBytes + segmentBytes;
    if (packetBytes > peers.tunMtu[peer]) {
      this.#drop(batch, slot, DropReason.TooBig);
      this.#answerTooBig(batch.bytes, peer);
      return;
    }
    const partialChecksum = (batch.offload[slot] & OFFLOAD_PARTIAL_CHECKSUM) !== 0;
    clampMss(batch.bytes, packet, peers.maxSegmentBytes[peer], partialChecksum);
    batch.length[slot] = packet.totalBytes;
    if (!sealer.address(batch, slot, peer, this.#now)) return;
    const packets = single ? 1 : Math.ceil((packet.totalBytes - headerBytes) / segmentBytes);
    peers.countEgress(peer, packet.totalBytes + (packets - 1) * headerBytes, packets);
  }

  /** @returns 0 if the packet may pass. */
  #refusal(bytes: Uint8Array, peer: number): number {
    const { peers, access, gatewayAddress } = this.#parts;
    const packet = this.#packet;
    if (packet.source === gatewayAddress) return packet.protocol === PROTOCOL_ICMP ? 0 : DropReason.SpoofedSource;
    const answer = access.decide(peers.stamp[peer], peers.groupsOf(peer), this.#remote(bytes));
    return answer === ACCESS_NETWORK || answer === ACCESS_CLIENT ? 0 : answer;
  }

  /**
   * An ICMP error comes from a router on the way, which no rule names: what counts is where the client's packet,
   * quoted inside, was going. An error that quotes nobody's packet is judged by its sender like any other.
   */
  #remote(bytes: Uint8Array): number {
    const packet = this.#packet;
    const quoted = packet.quotedOffset(bytes);
    if (quoted < 0 || readInt32(bytes, quoted + 12) !== packet.destination) return packet.source;
    return readInt32(bytes, quoted + 16);
  }

  /**
   * From the client's own address: the kernel takes no packet from a TUN with one of its own as the source. A sender that
   * is a client of another thread hears it from there: nothing goes from client to client through the kernel.
   */
  #answerTooBig(bytes: Uint8Array, peer: number): void {
    const { peers, port } = this.#parts;
    const packet = this.#packet;
    if (!packet.dontFragment || !mayAnswer(bytes, packet)) return;
    if (!peers.answers.take(peer, Math.floor(this.#now / 1000) | 0)) return;
    const answer = this.#answer;
    const mtu = peers.tunMtu[peer];
    const { destination } = packet;
    const length = writeUnreachable(bytes, packet, destination, CODE_FRAGMENTATION_NEEDED, mtu, answer.bytes, 0);
    answer.setPlain(0, 0, length);
    const sender = peers.peerIdAt(packet.source);
    if (sender >= 0) {
      port.passInner(sender, answer, 0, 'Checked');
      return;
    }
    answer.verdict[0] = PacketVerdict.Send;
    port.writeNetwork(answer, 1);
  }

  #drop(batch: PacketBatch, slot: number, reason: number): void {
    batch.verdict[slot] = PacketVerdict.Dropped;
    this.#parts.counters.drop(reason);
  }
}
