import type { PeerRecord } from '../../dataplane/data-channel.ts';
import { compilePolicy, GroupInterner, type PolicySource } from '../../dataplane/policy/policy-tables.ts';
import { DropReason } from '../../dataplane/tunnel/drop-reason.ts';
import { Forwarder } from '../../dataplane/tunnel/forwarder.ts';
import { PacketBatch } from '../../dataplane/tunnel/packet-batch.ts';
import { AddressOwners, PeerTable, TRAFFIC_FIELDS } from '../../dataplane/tunnel/peer-table.ts';
import { THREAD_COUNTER_BYTES, ThreadCounters } from '../../dataplane/tunnel/thread-counters.ts';
import { FakeForwarderPort, fakeRegistry } from './fake-forwarder-port.ts';
import { address, prefix } from './prefixes.ts';

const CLIENTS = prefix('10.8.0.0/22');
export const GATEWAY = '10.8.0.1';

/** One thread's forwarder over a fake port: peers come and go, batches are laid by hand, time is an argument. */
export class ForwarderWorld {
  readonly port = new FakeForwarderPort();
  readonly counters = new ThreadCounters(new SharedArrayBuffer(THREAD_COUNTER_BYTES));
  readonly owners = new AddressOwners(CLIENTS, new SharedArrayBuffer(4 * 1024));
  readonly peers: PeerTable;
  readonly forwarder: Forwarder;
  readonly batch = new PacketBatch(fakeRegistry, { slots: 256, bytes: 1 << 20 });
  readonly groups = new GroupInterner();
  now = 100_000;
  #epoch = 0;
  #nextId = 1;

  constructor(threads = 1, slots = 64) {
    const traffic = new SharedArrayBuffer((slots + 1) * TRAFFIC_FIELDS * 8);
    this.peers = new PeerTable({ thread: 0, threads, slots, owners: this.owners, traffic });
    this.forwarder = new Forwarder({
      port: this.port,
      registry: fakeRegistry,
      peers: this.peers,
      counters: this.counters,
      gatewayAddress: address(GATEWAY),
      clientCidr: CLIENTS,
    });
  }

  /** Rules as `group→prefix`, `*` for all users; one route to everywhere and one to the clients. */
  setPolicy(...rules: readonly string[]): void {
    const source: PolicySource = {
      clientCidr: CLIENTS,
      gatewayAddress: address(GATEWAY),
      routes: [
        { prefix: prefix('0.0.0.0/0'), via: 'TargetNetwork' },
        { prefix: CLIENTS, via: 'Local' },
      ],
      rules: rules.map((text) => {
        const [group, cidr] = text.split('→');
        return { prefix: prefix(cidr), allUsers: group === '*', group: group === '*' ? null : group };
      }),
    };
    this.forwarder.setPolicy(compilePolicy(source, this.groups, ++this.#epoch).shared);
  }

  addPeer(peerId: number, tunnelAddress: string, record: Partial<PeerRecord> = {}, connection = -1): number {
    const slot = this.peers.add(
      {
        peerId,
        generation: peerId + 1,
        transport: { kind: 'udp', remote: new Uint8Array(64) },
        tunnelAddress: address(tunnelAddress),
        groups: new Int32Array(0),
        format: 'V2',
        framing: 'none',
        maxSegmentBytes: 1400,
        tunMtu: 1500,
        pingMs: 0,
        pingTimeoutMs: 0,
        ...record,
      },
      connection,
      this.now,
    );
    this.peers.keys.install(slot, 0, slot * 8, 'primary', 0);
    this.forwarder.liveness.notePeer(slot);
    return slot;
  }

  wire(peerId: number, inner: Uint8Array, options: { readonly id?: number; readonly keyId?: number } = {}): Uint8Array {
    const packet = new Uint8Array(8 + inner.length);
    const view = new DataView(packet.buffer);
    view.setUint32(0, (((9 << 3) | (options.keyId ?? 0)) << 24) | peerId);
    view.setUint32(4, options.id ?? this.#nextId++);
    packet.set(inner, 8);
    return packet;
  }

  /** Lays packets into the batch, packed. @returns their number. */
  lay(packets: readonly Uint8Array[]): number {
    let at = 0;
    packets.forEach((packet, slot) => {
      this.batch.bytes.set(packet, at);
      this.batch.setPlain(slot, at, packet.length);
      this.batch.verdict[slot] = 0;
      this.batch.source[slot] = 0;
      at += packet.length;
    });
    return packets.length;
  }

  fromClients(...packets: readonly Uint8Array[]): void {
    this.forwarder.clients.receiveUdp(this.batch, this.lay(packets), this.now);
  }

  fromStream(connection: number, peer: number, ...packets: readonly Uint8Array[]): void {
    this.forwarder.clients.receiveTcp(this.batch, this.lay(packets), connection, peer, this.now);
  }

  fromNetwork(...packets: readonly Uint8Array[]): void {
    this.forwarder.network.receive(this.batch, this.lay(packets), this.now);
  }

  /** The reasons counted so far, those that are not 0. */
  drops(): Record<string, number> {
    const counted = Object.entries(DropReason).map(([name, reason]) => [name, this.counters.drops(reason)] as const);
    return Object.fromEntries(counted.filter(([, count]) => count > 0));
  }
}
