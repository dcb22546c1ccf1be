// A worker that sends packets through the forwarder with the real addon and reports what the garbage collector did.
import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics } from 'node:v8';
import { parentPort, workerData } from 'node:worker_threads';
import { loadAddon } from '../../dataplane/io/load-addon.ts';
import { compilePolicy, GroupInterner } from '../../dataplane/policy/policy-tables.ts';
import { Forwarder } from '../../dataplane/tunnel/forwarder.ts';
import type { ForwarderPort } from '../../dataplane/tunnel/forwarder-port.ts';
import { PacketBatch } from '../../dataplane/tunnel/packet-batch.ts';
import { AddressOwners, PeerTable, TRAFFIC_FIELDS } from '../../dataplane/tunnel/peer-table.ts';
import { THREAD_COUNTER_BYTES, ThreadCounters } from '../../dataplane/tunnel/thread-counters.ts';
import { LabError } from './netns.ts';
import { tcpPacket, udpPacket } from './ip-twin.ts';
import { address, prefix } from './prefixes.ts';

export interface LoadJob {
  /** In each direction. */
  readonly packets: number;
}

export interface LoadReport {
  readonly toNetwork: number;
  readonly toClients: number;
  readonly scavenges: number;
  readonly otherCollections: number;
  /** After all is measured, of garbage made on purpose: more than 0, or nothing was being observed. */
  readonly scavengesOfLitter: number;
  readonly oldSpaceGrowthBytes: number;
  readonly packetsPerSecond: number;
}

const BATCH = 64;
const CLIENTS = prefix('192.168.128.0/20');
const addon = loadAddon();
let toNetwork = 0;
let toClients = 0;

const port: ForwarderPort = {
  open: (batch, count) => void addon.open(batch.handle, count),
  seal: (input, from, count, output) => addon.seal(input.handle, from, count, output.handle),
  keyUsage: (handle, out) => addon.keyUsage(handle, out),
  writeNetwork: (batch, count) => {
    for (let slot = 0; slot < count; slot++) if (batch.verdict[slot] === 2) toNetwork++;
  },
  transmit: (_output, count) => void (toClients += count),
  passWire: () => false,
  passInner: () => false,
  passUnowned: () => undefined,
  passControl: () => undefined,
  notify: () => true,
  notifyFloat: () => true,
  closeStream: () => undefined,
};

const slots = 64;
const peers = new PeerTable({
  thread: 0,
  threads: 1,
  slots,
  owners: new AddressOwners(CLIENTS, new SharedArrayBuffer(4 * 4096)),
  traffic: new SharedArrayBuffer((slots + 1) * TRAFFIC_FIELDS * 8),
});
const forwarder = new Forwarder({
  port,
  registry: addon,
  peers,
  counters: new ThreadCounters(new SharedArrayBuffer(THREAD_COUNTER_BYTES)),
  gatewayAddress: CLIENTS.address + 1,
  clientCidr: CLIENTS,
});
const everywhere = prefix('0.0.0.0/0');
const policy = {
  clientCidr: CLIENTS,
  gatewayAddress: CLIENTS.address + 1,
  routes: [{ prefix: everywhere, via: 'TargetNetwork' }],
  rules: [{ prefix: everywhere, allUsers: true, group: null }],
} as const;
forwarder.setPolicy(compilePolicy(policy, new GroupInterner(), 1).shared);

const zero = { cipher: 'AES-256-GCM', epochFormat: false, encryptIv: new Uint8Array(8), decryptIv: new Uint8Array(8) };
const [up, down] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
const clientKey = addon.keyInstall({ ...zero, encryptKey: up, decryptKey: down });
const serverKey = addon.keyInstall({ ...zero, encryptKey: down, decryptKey: up });
// An address above 2^31: one that V8 keeps only as a boxed number would show.
const CLIENT = '192.168.128.7';
peers.add(
  {
    peerId: 3,
    generation: 1,
    transport: { kind: 'udp', remote: new Uint8Array(64) },
    tunnelAddress: address(CLIENT),
    groups: new Int32Array(0),
    format: 'V2',
    framing: 'none',
    maxSegmentBytes: 1400,
    tunMtu: 1500,
    pingMs: 10_000,
    pingTimeoutMs: 120_000,
  },
  -1,
  1,
);
peers.keys.install(3, 0, serverKey, 'primary', 0);

/** Packets of many flows, TCP and UDP, to or from many addresses. */
function template(isUp: boolean): PacketBatch {
  const batch = new PacketBatch(addon, { slots: BATCH, bytes: BATCH * 2048 });
  for (let slot = 0; slot < BATCH; slot++) {
    const server = `203.0.${slot}.${slot * 3}`;
    const [source, destination] = isUp ? [CLIENT, server] : [server, CLIENT];
    const payload = new Uint8Array(1300);
    const ends = { source: [source, 1000], destination: [destination, 80 + slot] } as const;
    const packet =
      slot % 2 === 0 ? tcpPacket({ ...ends, sequence: 1, payload }) : udpPacket(ends.source, ends.destination, payload);
    batch.bytes.set(packet, slot * 2048);
    batch.setPlain(slot, slot * 2048, packet.length);
  }
  return batch;
}

const plain = template(true);
const fromNetwork = template(false);
const lengths = fromNetwork.length.slice();
const wire = new PacketBatch(addon, { slots: BATCH, bytes: BATCH * 2048 });

function round(now: number): void {
  for (let slot = 0; slot < BATCH; slot++) {
    plain.verdict[slot] = 2;
    plain.key[slot] = clientKey;
    plain.header[slot] = 0x48000003;
    fromNetwork.verdict[slot] = 0;
    fromNetwork.length[slot] = lengths[slot];
  }
  addon.seal(plain.handle, 0, BATCH, wire.handle);
  for (let slot = 0; slot < BATCH; slot++) {
    wire.verdict[slot] = 0;
    wire.source[slot] = 0;
  }
  forwarder.clients.receiveUdp(wire, BATCH, now);
  forwarder.network.receive(fromNetwork, BATCH, now);
  forwarder.liveness.scan(now);
}

function oldSpaceBytes(): number {
  return getHeapSpaceStatistics()
    .filter(({ space_name }) => space_name.startsWith('old') || space_name.startsWith('large'))
    .reduce((sum, { space_used_size }) => sum + space_used_size, 0);
}

const collections = { 1: 0, other: 0 };
const observer = new PerformanceObserver((list) => {
  for (const { detail } of list.getEntries() as unknown as { readonly detail: { readonly kind: number } }[]) {
    if (detail.kind === 1) collections[1]++;
    else collections.other++;
  }
});
const ended = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));

const job = workerData as LoadJob;
const rounds = Math.ceil(job.packets / BATCH);
// Compilers allocate too, until they are done with the hot functions.
for (let i = 0; i < 3_000; i++) round(1_000 + i);
observer.observe({ entryTypes: ['gc'] });
await ended();
[collections[1], collections.other] = [0, 0];
[toNetwork, toClients] = [0, 0];
const oldSpace = oldSpaceBytes();
const began = performance.now();
for (let i = 0; i < rounds; i++) round(5_000 + i);
const seconds = (performance.now() - began) / 1000;
const growth = oldSpaceBytes() - oldSpace;
await ended();
const seen = { ...collections };
// So that silence above means something.
let litter: number[][] = [];
for (let i = 0; i < 300_000; i++) litter = [[i, i + 1, i + 2, i + 3], ...litter.slice(0, 3)];
await ended();
const report: LoadReport = {
  toNetwork,
  toClients,
  scavenges: seen[1],
  otherCollections: seen.other,
  scavengesOfLitter: collections[1] - seen[1],
  oldSpaceGrowthBytes: growth,
  packetsPerSecond: Math.round((2 * rounds * BATCH) / seconds),
};
if (parentPort === null) throw new LabError('forwarder-load.ts runs in a worker');
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's port, not a window
parentPort.postMessage(report);
