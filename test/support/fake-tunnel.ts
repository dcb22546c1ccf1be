import type { DataKeyMaterial, PeerRecord, PeerTraffic, SocketAddressBytes } from '../../dataplane/data-channel.ts';
import type { DataChannelCommand, Input } from '../../dataplane/sessions/engine-io.ts';
import { keyIdOf, Opcode, opcodeOf } from '../../dataplane/protocol/opcode.ts';
import { isPing, OCC_EXIT_PAYLOAD_BYTES, PING_PAYLOAD_BYTES } from './client-data-channel.ts';
import { openDataPacket, sealDataPacket } from './data-packet.ts';
import type { VirtualClock } from './virtual-clock.ts';

export interface FakePeer {
  readonly record: PeerRecord;
  groups: Int32Array;
  remote: SocketAddressBytes | null;
  primary: FakeKey | undefined;
  secondary: FakeKey | undefined;
  readonly received: Uint8Array[];
  pingAt: number;
  silentAt: number;
  lastReceived: number;
}

interface FakeKey {
  readonly material: DataKeyMaterial;
  readonly seen: Set<number>;
  nextPacketId: number;
}

type Notification = Extract<Input, { kind: 'dataChannel' }>['notification'];

/** Stands in for the tunnel threads: real packets, one at a time, the same notifications. */
export class FakeTunnel {
  readonly peers = new Map<number, FakePeer>();
  readonly #clock: VirtualClock;
  readonly #notify: (notification: Notification) => void;
  readonly #send: (peer: FakePeer, packet: Uint8Array) => void;

  constructor(
    clock: VirtualClock,
    notify: (notification: Notification) => void,
    send: (peer: FakePeer, packet: Uint8Array) => void,
  ) {
    this.#clock = clock;
    this.#notify = notify;
    this.#send = send;
  }

  nextDeadline(): number {
    let earliest = Infinity;
    for (const { pingAt, silentAt } of this.peers.values()) earliest = Math.min(earliest, pingAt, silentAt);
    return earliest;
  }

  onDeadline(): void {
    const { now } = this.#clock;
    for (const peer of this.peers.values()) {
      const { peerId, generation, pingMs } = peer.record;
      if (now >= peer.silentAt) {
        peer.silentAt = Infinity;
        this.#notify({ kind: 'keepaliveLost', peerId, generation });
      }
      if (now < peer.pingAt) continue;
      peer.pingAt = now + pingMs;
      if (peer.primary !== undefined) this.#send(peer, this.seal(peerId, PING_PAYLOAD_BYTES));
    }
  }

  program(command: DataChannelCommand): void {
    if (command.verb === 'setPolicy') return;
    if (command.verb === 'newPeer') {
      const { peer } = command;
      const remote = peer.transport.kind === 'udp' ? peer.transport.remote : null;
      if (this.peers.has(peer.peerId)) throw new RangeError(`Peer ${peer.peerId} exists already`);
      const empty = { primary: undefined, secondary: undefined };
      const { now } = this.#clock;
      const times = { pingAt: now + peer.pingMs, silentAt: now + peer.pingTimeoutMs, lastReceived: now };
      this.peers.set(peer.peerId, { record: peer, groups: peer.groups, remote, ...empty, received: [], ...times });
      return;
    }
    const peer = this.peers.get(command.peerId);
    if (peer === undefined) throw new RangeError(`${command.verb} for the unknown peer ${command.peerId}`);
    switch (command.verb) {
      case 'setRemote':
        peer.remote = command.remote;
        return;
      case 'setGroups':
        peer.groups = command.groups;
        return;
      case 'deletePeer':
        this.peers.delete(command.peerId);
        return;
      case 'newKey':
        if (peer[command.slot] !== undefined) throw new RangeError(`The ${command.slot} slot is taken`);
        peer[command.slot] = { material: command.key, seen: new Set(), nextPacketId: 1 };
        return;
      case 'swapKeys':
        [peer.primary, peer.secondary] = [peer.secondary, peer.primary];
        return;
      case 'deleteKey':
        if (peer.secondary?.material.keyId === command.keyId) peer.secondary = undefined;
        else if (peer.primary?.material.keyId === command.keyId) throw new RangeError('The sending key was deleted');
        else throw new RangeError(`Key ${command.keyId} does not exist`);
    }
  }

  /** Only what an engine goes by is counted. */
  traffic(peerId: number): PeerTraffic | undefined {
    const peer = this.peers.get(peerId);
    if (peer === undefined) return undefined;
    const { lastReceived } = peer;
    return { ingressBytes: 0, ingressPackets: 0, egressBytes: 0, egressPackets: 0, lastReceived };
  }

  /** A data packet from `remote`. @returns whether it was genuine, fresh and for somebody. */
  receive(packet: Uint8Array, remote: SocketAddressBytes | null, byAddress: FakePeer | undefined): boolean {
    const isV2 = opcodeOf(packet[0]) === Opcode.DataV2;
    const peerId = isV2 ? (packet[1] << 16) | (packet[2] << 8) | packet[3] : NO_PEER_ID;
    const peer = peerId === NO_PEER_ID ? byAddress : this.peers.get(peerId);
    const key = [peer?.primary, peer?.secondary].find((each) => each?.material.keyId === keyIdOf(packet[0]));
    if (peer === undefined || key === undefined) return false;
    const { cipher, decryptKey, decryptIv, epochFormat, keyId } = key.material;
    const direction = { cipher, key: decryptKey, implicitIv: decryptIv };
    const opened = openDataPacket(direction, epochFormat ? 'epoch' : isV2 ? 'V2' : 'V1', packet);
    if (opened === undefined || key.seen.has(opened.header.packetId)) return false;
    key.seen.add(opened.header.packetId);
    peer.silentAt = this.#clock.now + peer.record.pingTimeoutMs;
    peer.lastReceived = this.#clock.now;
    const about = { peerId: peer.record.peerId, generation: peer.record.generation };
    if (key === peer.secondary && !this.#isRetired(peer, keyId)) {
      [peer.primary, peer.secondary] = [peer.secondary, peer.primary];
      this.#notify({ kind: 'keySwitched', ...about, keyId });
    }
    if (remote !== null && peer.remote !== null && !isSame(remote, peer.remote))
      this.#notify({ kind: 'floated', ...about, remote });
    if (isSame(opened.plain, OCC_EXIT_PAYLOAD_BYTES)) this.#notify({ kind: 'exitNotified', ...about });
    else if (!isPing(opened.plain)) peer.received.push(opened.plain);
    return true;
  }

  /** One sealed packet for the peer, on its sending key. */
  seal(peerId: number, inner: Uint8Array): Uint8Array {
    const peer = this.peers.get(peerId);
    const key = peer?.primary;
    if (peer === undefined || key === undefined) throw new RangeError(`Peer ${peerId} has no sending key`);
    const { cipher, encryptKey, encryptIv, epochFormat, keyId } = key.material;
    const direction = { cipher, key: encryptKey, implicitIv: encryptIv };
    const header = { keyId, peerId, packetId: key.nextPacketId++ };
    return epochFormat
      ? sealDataPacket(direction, { ...header, format: 'epoch', epoch: 1 }, inner)
      : sealDataPacket(direction, { ...header, format: peer.record.format }, inner);
  }

  /** A secondary key older than the primary is retiring, not new: key ids run 0, 1 … 7, 1. */
  #isRetired(peer: FakePeer, keyId: number): boolean {
    const primaryId = peer.primary?.material.keyId ?? 0;
    return (keyId === 7 ? 1 : keyId + 1) === primaryId;
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

const NO_PEER_ID = 0xffffff;
