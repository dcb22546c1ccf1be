// UDP packets of 64 bytes, as many as get through, and what the server pays for each.
import type { BenchContext } from './bench-context.ts';
import { Contention, cpuSecondsOf } from './machine.ts';
import { ratio, Samples } from './report.ts';
import { inTurn } from './stock-client-bench.ts';
import { packets } from './traffic.ts';

export async function benchPackets(context: BenchContext): Promise<void> {
  const { report, runs, seconds } = context;
  const contenders = [await context.ours('udp'), await context.openVpn('udp')];
  for (const contender of contenders) await context.connect(contender, 0);
  report.say(`Stock client, UDP packets of 64 bytes at full speed, median of ${runs} runs of ${seconds} s`);
  const contention = new Contention();
  const rows: string[][] = [];
  for (const direction of ['in', 'out'] as const) {
    const samples = new Samples();
    for (let run = 0; run < runs; run++) {
      for (const { name, lane, pids } of inTurn(contenders, run)) {
        const before = cpuSecondsOf(pids);
        const result = await packets(lane.clients[0], direction, seconds);
        const cpu = cpuSecondsOf(pids) - before;
        samples.add(name, { perSecond: result.perSecond, cpuPerPacketUs: (cpu / result.packets) * 1e6 });
      }
    }
    const theirs = contenders[1].name;
    for (const { name } of contenders) {
      rows.push([
        `${direction === 'in' ? 'client → network' : 'network → client'}, ${name}`,
        samples.median(name, 'perSecond').toFixed(0),
        samples.median(name, 'cpuPerPacketUs').toFixed(2),
        ratio(samples.median(name, 'perSecond'), samples.median(theirs, 'perSecond')),
        ratio(samples.median(name, 'cpuPerPacketUs'), samples.median(theirs, 'cpuPerPacketUs')),
      ]);
    }
    report.keep(`packets-${direction}`, { contention: contention.read(), samples });
  }
  report.table(['', 'packets/s', 'server CPU µs/packet', 'rate', 'CPU'], rows);
  context.sayContention(contention);
}
