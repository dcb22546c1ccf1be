// One stock client, one TCP stream: our server against OpenVPN's, over both transports and in both directions.
import type { BenchContext } from './bench-context.ts';
import type { Contender } from './contender.ts';
import { Contention, cpuSecondsOf } from './machine.ts';
import { ratio, Samples } from './report.ts';
import { stream, type Direction } from './traffic.ts';

export async function benchStockClient(context: BenchContext, transport: 'udp' | 'tcp'): Promise<void> {
  const { report, runs, seconds } = context;
  const ours = await context.ours(transport);
  const theirs = await context.openVpn(transport);
  for (const contender of [ours, theirs]) await context.connect(contender, 0);
  report.say(`Stock client over ${transport.toUpperCase()}, one TCP stream, median of ${runs} runs of ${seconds} s`);
  const contention = new Contention();
  const rows: string[][] = [];
  for (const direction of ['in', 'out'] as const) {
    const samples = new Samples();
    for (let run = 0; run < runs; run++) {
      for (const contender of inTurn([ours, theirs], run)) {
        samples.add(contender.name, await measureStream(contender, direction, seconds));
      }
    }
    for (const { name } of [ours, theirs]) {
      rows.push([
        `${direction === 'in' ? 'client → network' : 'network → client'}, ${name}`,
        samples.median(name, 'mbitPerSecond').toFixed(0),
        samples.median(name, 'cpuPerGb').toFixed(2),
        samples.median(name, 'retransmits').toFixed(0),
        ratio(samples.median(name, 'mbitPerSecond'), samples.median(theirs.name, 'mbitPerSecond')),
        ratio(samples.median(name, 'cpuPerGb'), samples.median(theirs.name, 'cpuPerGb')),
      ]);
    }
    report.keep(`stock-${transport}-${direction}`, { contention: contention.read(), samples });
  }
  report.table(['', 'Mbit/s', 'server CPU s/GB', 'TCP retransmits', 'throughput', 'CPU'], rows);
  context.sayContention(contention);
}

export async function measureStream(
  { lane, pids }: Contender,
  direction: Direction,
  seconds: number,
): Promise<Record<string, number>> {
  const before = cpuSecondsOf(pids);
  const { bytes, bitsPerSecond, retransmits } = await stream(lane.clients[0], direction, seconds);
  const cpu = cpuSecondsOf(pids) - before;
  return { mbitPerSecond: bitsPerSecond / 1e6, cpuPerGb: cpu / (bytes / 1e9), retransmits };
}

/** Who goes first changes from run to run. */
export function inTurn<T>(contenders: readonly T[], run: number): readonly T[] {
  const at = run % contenders.length;
  return [...contenders.slice(at), ...contenders.slice(0, at)];
}
