import type { Ipv4 } from '../../net/ipv4.ts';
import { ipv4Mask, type Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import { PolicyView } from '../policy/evaluate.ts';
import { AccessCheck } from './access-check.ts';
import { ClientReceiver, type ReceiverParts } from './client-receiver.ts';
import type { ForwarderPort } from './forwarder-port.ts';
import { Liveness } from './liveness.ts';
import { NetworkReceiver } from './network-receiver.ts';
import { type BatchRegistry, PacketBatch } from './packet-batch.ts';
import type { PeerTable } from './peer-table.ts';
import { REPLY_SLOT_BYTES, Sealer } from './sealer.ts';
import type { ThreadCounters } from './thread-counters.ts';

/** The data path of one tunnel thread: both directions, our own small packets, and the watch over its peers. */
export class Forwarder {
  readonly clients: ClientReceiver;
  readonly network: NetworkReceiver;
  readonly liveness: Liveness;
  readonly #access = new AccessCheck();

  constructor(parts: ForwarderParts) {
    const { port, registry, peers, counters } = parts;
    // Its remotes are the peers': udpSend finds the address in the peer's row.
    const output = new PacketBatch(registry, { slots: OUTPUT_SLOTS, bytes: OUTPUT_BYTES, remotes: peers.remotes });
    const replies = new PacketBatch(registry, {
      slots: REPLY_SLOTS,
      bytes: REPLY_SLOTS * REPLY_SLOT_BYTES,
      remotes: new Uint8Array(0),
    });
    const sealer = new Sealer(port, peers, counters, output, replies);
    const receiver: ReceiverParts = {
      port,
      registry,
      peers,
      access: this.#access,
      sealer,
      counters,
      gatewayAddress: parts.gatewayAddress | 0,
      clientBroadcast: parts.clientCidr.address | ~ipv4Mask(parts.clientCidr.length),
    };
    this.clients = new ClientReceiver(receiver);
    this.network = new NetworkReceiver(receiver);
    this.liveness = new Liveness(port, peers, sealer);
  }

  /** Takes effect with the next packet. @throws InternalError for a table of another format. */
  setPolicy(shared: SharedArrayBuffer): void {
    this.#access.setPolicy(new PolicyView(shared));
  }
}

export interface ForwarderParts {
  readonly port: ForwarderPort;
  readonly registry: BatchRegistry;
  readonly peers: PeerTable;
  readonly counters: ThreadCounters;
  readonly gatewayAddress: Ipv4;
  readonly clientCidr: Ipv4Prefix;
}

const OUTPUT_SLOTS = 2048;
/** Room for a few dozen super-packets cut into segments. */
const OUTPUT_BYTES = 2 * 1024 * 1024;
const REPLY_SLOTS = 64;
