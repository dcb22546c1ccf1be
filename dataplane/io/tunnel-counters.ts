import type { PeerTraffic } from '../data-channel.ts';
import { DropReason } from '../tunnel/drop-reason.ts';
import { Counter, type ThreadCounters } from '../tunnel/thread-counters.ts';

/** Sums over all tunnel threads since their start. */
export interface TunnelCounters {
  readonly drops: Readonly<Record<keyof typeof DropReason, number>>;
  /** Inner traffic of all peers, those that left included. */
  readonly traffic: Omit<PeerTraffic, 'lastReceived'>;
  /** By stage: how often it ran, and over how many packets in all. */
  readonly batches: Readonly<Record<string, { readonly runs: number; readonly packets: number }>>;
  readonly strays: number;
  readonly tcpAccepted: number;
  readonly tcpRefused: number;
  readonly tcpClosed: number;
  readonly controlRingFull: number;
  readonly acksSuperseded: number;
  /** The addon's counters by name; up to a quarter of a second old. */
  readonly native: Readonly<Record<string, number>>;
}

export function sumCounters(
  nativeNames: readonly string[],
  threads: readonly ThreadCounters[],
  traffic: readonly PeerTraffic[],
): TunnelCounters {
  const sum = (of: (thread: ThreadCounters) => number): number =>
    threads.reduce((total, thread) => total + of(thread), 0);
  const sumTraffic = (field: keyof PeerTraffic): number => traffic.reduce((total, one) => total + one[field], 0);
  const named = (counter: Counter): number => sum((thread) => thread.value(counter));
  const native = Object.fromEntries(nativeNames.map((name, index) => [name, sum((thread) => thread.native[index])]));
  return {
    drops: mapValues(DropReason, (reason) => sum((thread) => thread.drops(reason))),
    traffic: {
      ingressBytes: sumTraffic('ingressBytes'),
      ingressPackets: sumTraffic('ingressPackets'),
      egressBytes: sumTraffic('egressBytes'),
      egressPackets: sumTraffic('egressPackets'),
    },
    batches: mapValues(STAGES, ({ runs, packets }) => ({ runs: native[runs] ?? 0, packets: native[packets] ?? 0 })),
    strays: named(Counter.Strays),
    tcpAccepted: named(Counter.TcpAccepted),
    tcpRefused: named(Counter.TcpRefused),
    tcpClosed: named(Counter.TcpClosed),
    controlRingFull: named(Counter.ControlRingFull),
    acksSuperseded: named(Counter.AcksSuperseded),
    native,
  };
}

function mapValues<K extends string, V, R>(from: Readonly<Record<K, V>>, of: (value: V) => R): Record<K, R> {
  // Object.entries forgets the key type that `from` states.
  return Object.fromEntries(Object.entries<V>(from).map(([key, value]) => [key, of(value)])) as Record<K, R>;
}

/** The addon's counter names of each stage. */
const STAGES = {
  udpReceive: { runs: 'receiveCalls', packets: 'receivedDatagrams' },
  open: { runs: 'openCalls', packets: 'opened' },
  tunWrite: { runs: 'tunWrites', packets: 'tunWrittenPackets' },
  tunRead: { runs: 'tunReads', packets: 'tunReadPackets' },
  seal: { runs: 'sealCalls', packets: 'sealed' },
  udpSend: { runs: 'sendCalls', packets: 'sentDatagrams' },
} as const;
