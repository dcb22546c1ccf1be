import { CODE_FRAGMENTATION_NEEDED, CODE_PROHIBITED, mayAnswer } from '../policy/icmp-reply.ts';
import { ICMP_ECHO_REQUEST, Ipv4View, ipVersion, isIcmpError, PROTOCOL_ICMP, readInt32 } from '../policy/ip-packet.ts';
import { clampMss } from '../policy/mss-clamp.ts';
import { ACCESS_CLIENT, ACCESS_NETWORK, type AccessCheck } from './access-check.ts';
import { AckFilter } from './ack-filter.ts';
import { DropReason } from './drop-reason.ts';
import type { ForwarderPort } from './forwarder-port.ts';
import { type BatchRegistry, isSameRemote, type PacketBatch, PacketVerdict } from './packet-batch.ts';
import { framingBytes, PayloadKind, payloadKind } from './payload-kind.ts';
import { NO_PEER_ID, OPCODE_DATA_V1, OPCODE_DATA_V2, type PeerTable } from './peer-table.ts';
import { ReplayOutcome } from './replay-window.ts';
import type { Sealer } from './sealer.ts';
import { Counter, type ThreadCounters } from './thread-counters.ts';

export interface ReceiverParts {
  readonly port: ForwarderPort;
  readonly registry: BatchRegistry;
  readonly peers: PeerTable;
  readonly access: AccessCheck;
  readonly sealer: Sealer;
  readonly counters: ThreadCounters;
  /** Addresses as signed words. */
  readonly gatewayAddress: number;
  readonly clientBroadcast: number;
}

/**
 * Client → network over one batch: opcode and peer id → open all → replay → source → route and rule → TUN,
 * another client, or an ICMP refusal. Nothing is allocated for a packet.
 */
export class ClientReceiver {
  readonly #parts: ReceiverParts;
  readonly #packet = new Ipv4View();
  readonly #acks = new AckFilter();
  #now = 0;
  #second = 0;
  /** Row of the last data packet in this batch and its peer: what is glued behind it comes from that peer. */
  #lastRow = -1;
  #lastPeer = -1;
  /** Row last found to be where this peer is: the rows of a batch do not change, nor do peers while it is handled. */
  #knownRow = -1;
  #knownPeer = -1;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
  }

  /** Datagrams as udpReceive left them. */
  receiveUdp(batch: PacketBatch, count: number, now: number): void {
    this.#start(now);
    let toOpen = 0;
    for (let slot = 0; slot < count; slot++) toOpen += this.#sortDatagram(batch, slot);
    this.#finish(batch, count, toOpen, 'udp');
  }

  /** Frames of one TCP connection. @param peer its slot, −1 before login. */
  receiveTcp(batch: PacketBatch, count: number, connection: number, peer: number, now: number): void {
    this.#start(now);
    let toOpen = 0;
    for (let slot = 0; slot < count; slot++) toOpen += this.#sortFrame(batch, slot, connection, peer);
    this.#finish(batch, count, toOpen, 'tcp');
  }

  /** Wire packets whose peer another thread named: `batch.peer` holds peer ids, row `slot` of the remotes their sender. */
  receiveStrays(batch: PacketBatch, count: number, now: number): void {
    this.#start(now);
    let toOpen = 0;
    for (let slot = 0; slot < count; slot++) {
      batch.source[slot] = slot;
      toOpen += this.#sortData(batch, slot, this.#parts.peers.slotOf(batch.peer[slot]));
    }
    this.#finish(batch, count, toOpen, 'udp');
  }

  #start(now: number): void {
    this.#now = now;
    this.#second = Math.floor(now / 1000) | 0;
    this.#lastRow = -1;
    this.#knownRow = -1;
  }

  #sortDatagram(batch: PacketBatch, slot: number): number {
    const { peers, port, counters } = this.#parts;
    const { bytes } = batch;
    const offset = batch.offset[slot];
    const length = batch.length[slot];
    batch.key[slot] = -1;
    if (length === 0) return this.#drop(batch, slot, DropReason.TooShort);
    const opcode = bytes[offset] >>> 3;
    if (opcode === OPCODE_DATA_V2) {
      if (length < 4) return this.#drop(batch, slot, DropReason.TooShort);
      const peerId = (bytes[offset + 1] << 16) | (bytes[offset + 2] << 8) | bytes[offset + 3];
      if (peerId !== NO_PEER_ID) {
        if (peers.threadOf(peerId) === peers.thread) return this.#sortData(batch, slot, peers.slotOf(peerId));
        counters.count(Counter.Strays);
        return port.passWire(peerId, batch, slot)
          ? this.#consume(batch, slot)
          : this.#drop(batch, slot, DropReason.RingFull);
      }
    }
    if (opcode === OPCODE_DATA_V1 || opcode === OPCODE_DATA_V2) {
      counters.count(Counter.Strays);
      port.passUnowned(batch, slot);
      return this.#consume(batch, slot);
    }
    if (!isControlOpcode(opcode)) return this.#drop(batch, slot, DropReason.UnknownOpcode);
    counters.count(Counter.Strays);
    port.passControl(batch, slot, -1, this.#isFromKnownRemote(batch, slot) ? 'known' : 'stranger');
    return this.#consume(batch, slot);
  }

  #sortFrame(batch: PacketBatch, slot: number, connection: number, peer: number): number {
    batch.key[slot] = -1;
    if (batch.length[slot] === 0) return this.#drop(batch, slot, DropReason.TooShort);
    const opcode = batch.bytes[batch.offset[slot]] >>> 3;
    if (opcode === OPCODE_DATA_V1 || opcode === OPCODE_DATA_V2) return this.#sortData(batch, slot, peer);
    if (!isControlOpcode(opcode)) return this.#drop(batch, slot, DropReason.UnknownOpcode);
    this.#parts.port.passControl(batch, slot, connection, peer >= 0 ? 'known' : 'stranger');
    return this.#consume(batch, slot);
  }

  /** Names the key of a data packet. The key id waits in `header` until the packet is open. */
  #sortData(batch: PacketBatch, slot: number, peer: number): number {
    if (peer < 0) return this.#drop(batch, slot, DropReason.UnknownPeer);
    const keyId = batch.bytes[batch.offset[slot]] & 7;
    const key = this.#parts.peers.keys.openHandle(peer, keyId);
    batch.peer[slot] = peer;
    if (key < 0) return this.#drop(batch, slot, DropReason.UnknownKey);
    batch.key[slot] = key;
    batch.header[slot] = keyId;
    this.#lastRow = batch.source[slot];
    this.#lastPeer = peer;
    return 1;
  }

  #isFromKnownRemote(batch: PacketBatch, slot: number): boolean {
    const row = batch.source[slot];
    return row === this.#lastRow && isSameRemote(batch.remoteWords, row, this.#parts.peers.remoteWords, this.#lastPeer);
  }

  #finish(batch: PacketBatch, count: number, toOpen: number, transport: 'udp' | 'tcp'): void {
    const { port, sealer } = this.#parts;
    if (toOpen === 0) return;
    port.open(batch, count);
    this.#acks.reset();
    let toNetwork = 0;
    let toClients = 0;
    for (let slot = 0; slot < count; slot++) {
      if (batch.key[slot] < 0) continue;
      this.#handleOpened(batch, slot, transport);
      const verdict = batch.verdict[slot];
      if (verdict === PacketVerdict.Send) toNetwork++;
      else if (verdict === PacketVerdict.ToClient) toClients++;
    }
    if (toNetwork > 0) port.writeNetwork(batch, count);
    if (toClients > 0) this.#sendToClients(batch, count);
    sealer.flush();
  }

  #handleOpened(batch: PacketBatch, slot: number, transport: 'udp' | 'tcp'): void {
    const { peers, port } = this.#parts;
    const peer = batch.peer[slot];
    const keyId = batch.header[slot];
    const verdict = batch.verdict[slot];
    if (verdict !== PacketVerdict.Opened) {
      this.#drop(batch, slot, reasonFor(verdict));
      // A stream cannot lose or garble a packet: whoever sends one that does not open does not hold the keys.
      if (transport === 'tcp') port.closeStream(peers.connection[peer], 'data packet failed authentication');
      return;
    }
    const outcome = peers.keys.acceptPacket(peer, keyId, batch, slot, this.#second);
    if (outcome === ReplayOutcome.Replayed || outcome === ReplayOutcome.TooOld) {
      this.#drop(batch, slot, outcome === ReplayOutcome.Replayed ? DropReason.Replayed : DropReason.TooOld);
      return;
    }
    peers.noteReceived(peer, this.#now);
    if (peers.keys.isPending(peer, keyId)) {
      peers.keys.promote(peer);
      if (port.notify('keySwitched', peer, keyId)) peers.keys.noteSwitchReported(peer);
    }
    // Only the newest packet moves a peer: one that was overtaken on the way may come from where the peer was before.
    if (transport === 'udp' && outcome === ReplayOutcome.Newest) this.#noticeFloat(batch, slot, peer);
    this.#handlePayload(batch, slot, peer);
  }

  #noticeFloat(batch: PacketBatch, slot: number, peer: number): void {
    const { peers, port } = this.#parts;
    const row = batch.source[slot];
    if (row === this.#knownRow && peer === this.#knownPeer) return;
    if (isSameRemote(batch.remoteWords, row, peers.remoteWords, peer)) {
      this.#knownRow = row;
      this.#knownPeer = peer;
      return;
    }
    if (this.#now - peers.lastFloatReport[peer] < FLOAT_REPORT_MS) return;
    if (!port.notifyFloat(peer, batch, row)) return;
    peers.lastFloatReport[peer] = this.#now;
  }

  #handlePayload(batch: PacketBatch, slot: number, peer: number): void {
    const { peers, port } = this.#parts;
    const framing = framingBytes(batch.bytes, batch.offset[slot], batch.length[slot], peers.framing[peer]);
    if (framing < 0) {
      this.#drop(batch, slot, framing === -1 ? DropReason.Compressed : DropReason.Malformed);
      return;
    }
    batch.offset[slot] += framing;
    batch.length[slot] -= framing;
    switch (payloadKind(batch.bytes, batch.offset[slot], batch.length[slot])) {
      case PayloadKind.Packet:
        this.#handlePacket(batch, slot, peer);
        return;
      case PayloadKind.ExitNotice:
        port.notify('exitNotified', peer, 0);
        batch.verdict[slot] = PacketVerdict.Consumed;
        return;
      case PayloadKind.Malformed:
        this.#drop(batch, slot, DropReason.Malformed);
        return;
      case PayloadKind.Ping:
      case PayloadKind.OtherControl:
        batch.verdict[slot] = PacketVerdict.Consumed;
        return;
    }
  }

  #handlePacket(batch: PacketBatch, slot: number, peer: number): void {
    const { peers, access, counters } = this.#parts;
    const packet = this.#packet;
    const offset = batch.offset[slot];
    const length = batch.length[slot];
    if (!packet.read(batch.bytes, offset, length)) {
      const version = ipVersion(batch.bytes, offset, length);
      this.#drop(batch, slot, version === 6 ? DropReason.Ipv6 : DropReason.Malformed);
      return;
    }
    if (packet.source !== peers.tunnelAddress[peer] || this.#isErrorAboutOthers(batch.bytes)) {
      this.#drop(batch, slot, DropReason.SpoofedSource);
      return;
    }
    if (packet.isSourceRouted(batch.bytes)) {
      this.#drop(batch, slot, DropReason.SourceRouted);
      return;
    }
    if (packet.totalBytes > peers.tunMtu[peer]) {
      this.#drop(batch, slot, DropReason.TooBig);
      return;
    }
    peers.countIngress(peer, packet.totalBytes);
    batch.length[slot] = packet.totalBytes;
    if (this.#isPingToGateway(batch.bytes)) {
      batch.verdict[slot] = PacketVerdict.Send;
      return;
    }
    const answer = access.decide(peers.stamp[peer], peers.groupsOf(peer), packet.destination);
    if (answer === ACCESS_NETWORK) {
      clampMss(batch.bytes, packet, peers.maxSegmentBytes[peer], false);
      batch.verdict[slot] = PacketVerdict.Send;
      const redundant = this.#acks.supersedes(batch, slot, packet);
      if (redundant >= 0) {
        this.#consume(batch, redundant);
        counters.count(Counter.AcksSuperseded);
      }
    } else if (answer === ACCESS_CLIENT) {
      batch.setPlain(slot, offset, packet.totalBytes);
      clampMss(batch.bytes, packet, peers.maxSegmentBytes[peer], false);
      this.#routeToClient(batch, slot, peer);
    } else {
      this.#refuse(batch, slot, peer, answer);
    }
  }

  /**
   * Whether an ICMP error quotes a packet that its sender did not get. Translation goes by the quoted packet: the far
   * end would take the error for that of the client whose flow it names.
   */
  #isErrorAboutOthers(bytes: Uint8Array): boolean {
    const packet = this.#packet;
    if (!isIcmpError(packet.icmpType(bytes))) return false;
    const quoted = packet.quotedOffset(bytes);
    return quoted < 0 || readInt32(bytes, quoted + 16) !== packet.source;
  }

  /** The gateway answers pings to its tunnel address, and nothing else; later fragments belong to such a ping or reassemble to nothing. */
  #isPingToGateway(bytes: Uint8Array): boolean {
    const packet = this.#packet;
    if (packet.destination !== this.#parts.gatewayAddress || packet.protocol !== PROTOCOL_ICMP) return false;
    return packet.fragmentOffset > 0 || packet.icmpType(bytes) === ICMP_ECHO_REQUEST;
  }

  #routeToClient(batch: PacketBatch, slot: number, sender: number): void {
    const { peers, port, sealer } = this.#parts;
    const packet = this.#packet;
    const peerId = peers.peerIdAt(packet.destination);
    if (peerId < 0) {
      this.#drop(batch, slot, DropReason.UnknownDestination);
      return;
    }
    if (peers.threadOf(peerId) !== peers.thread) {
      if (port.passInner(peerId, batch, slot, 'Checked')) this.#consume(batch, slot);
      else this.#drop(batch, slot, DropReason.RingFull);
      return;
    }
    const receiver = peers.slotOf(peerId);
    if (receiver < 0) {
      this.#drop(batch, slot, DropReason.UnknownDestination);
      return;
    }
    if (packet.totalBytes > peers.tunMtu[receiver]) {
      this.#drop(batch, slot, DropReason.TooBig);
      if (packet.dontFragment && mayAnswer(batch.bytes, packet) && peers.answers.take(sender, this.#second)) {
        const { gatewayAddress } = this.#parts;
        const mtu = peers.tunMtu[receiver];
        sealer.unreachable(batch.bytes, packet, gatewayAddress, CODE_FRAGMENTATION_NEEDED, mtu, sender, this.#now);
      }
      return;
    }
    clampMss(batch.bytes, packet, peers.maxSegmentBytes[receiver], false);
    peers.countEgress(receiver, packet.totalBytes, 1);
    batch.peer[slot] = receiver;
    batch.verdict[slot] = PacketVerdict.ToClient;
  }

  #refuse(batch: PacketBatch, slot: number, peer: number, reason: number): void {
    const { peers, sealer, gatewayAddress, clientBroadcast } = this.#parts;
    const packet = this.#packet;
    this.#drop(batch, slot, reason);
    if (packet.destination === clientBroadcast || !mayAnswer(batch.bytes, packet)) return;
    if (!peers.answers.take(peer, this.#second)) return;
    sealer.unreachable(batch.bytes, packet, gatewayAddress, CODE_PROHIBITED, 0, peer, this.#now);
  }

  /** The network's share of the batch has been written: what is left to send goes back through the ciphers. */
  #sendToClients(batch: PacketBatch, count: number): void {
    const { sealer } = this.#parts;
    for (let slot = 0; slot < count; slot++) {
      const verdict = batch.verdict[slot];
      if (verdict === PacketVerdict.ToClient) sealer.address(batch, slot, batch.peer[slot], this.#now);
      else if (verdict === PacketVerdict.Send) batch.verdict[slot] = PacketVerdict.Consumed;
    }
    sealer.sealAndTransmit(batch, count);
  }

  #drop(batch: PacketBatch, slot: number, reason: number): number {
    batch.verdict[slot] = PacketVerdict.Dropped;
    this.#parts.counters.drop(reason);
    return 0;
  }

  #consume(batch: PacketBatch, slot: number): number {
    batch.verdict[slot] = PacketVerdict.Consumed;
    return 0;
  }
}

function reasonFor(verdict: number): DropReason {
  switch (verdict) {
    case PacketVerdict.TooShort:
      return DropReason.TooShort;
    case PacketVerdict.BadPacketId:
      return DropReason.BadPacketId;
    case PacketVerdict.BadEpoch:
      return DropReason.BadEpoch;
    default:
      return DropReason.BadTag;
  }
}

/** Soft reset, control, ack, and the client's hard resets: the opcodes that a client sends and a server answers to. */
function isControlOpcode(opcode: number): boolean {
  return (opcode >= 3 && opcode <= 5) || opcode === 7 || opcode === 10 || opcode === 11;
}

const FLOAT_REPORT_MS = 100;
