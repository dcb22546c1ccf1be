// Round trips through the tunnel, idle and beside another client's stream at full speed.
import type { BenchContext } from './bench-context.ts';
import { Contention } from './machine.ts';
import { Samples } from './report.ts';
import { inTurn } from './stock-client-bench.ts';
import { pings, stream } from './traffic.ts';

export async function benchLatency(context: BenchContext): Promise<void> {
  const { report, runs, seconds } = context;
  const contenders = [await context.ours('udp'), await context.openVpn('udp')];
  for (const contender of contenders) {
    await context.connect(contender, 0);
    await context.connect(contender, 1);
  }
  report.say(`Ping through the tunnel every ${INTERVAL_MS} ms, median of ${runs} runs of ${seconds} s`);
  const contention = new Contention();
  const rows: string[][] = [];
  for (const beside of ['nothing', 'in', 'out'] as const) {
    const samples = new Samples();
    for (let run = 0; run < runs; run++) {
      for (const { name, lane } of inTurn(contenders, run)) {
        const flow = beside === 'nothing' ? undefined : stream(lane.clients[1], beside, seconds + 1);
        const { p50, p99, lost, sent } = await pings(lane.clients[0], (seconds * 1000) / INTERVAL_MS, INTERVAL_MS);
        await flow;
        samples.add(name, { p50, p99, lost: lost / sent });
      }
    }
    for (const { name } of contenders) {
      rows.push([
        `beside ${SAID[beside]}, ${name}`,
        samples.median(name, 'p50').toFixed(2),
        samples.median(name, 'p99').toFixed(2),
        `${(samples.median(name, 'lost') * 100).toFixed(1)} %`,
      ]);
    }
    report.keep(`latency-${beside}`, { contention: contention.read(), samples });
  }
  report.table(['', 'p50 ms', 'p99 ms', 'lost'], rows);
  context.sayContention(contention);
}

const INTERVAL_MS = 10;
const SAID = { nothing: 'nothing', in: 'a stream client → network', out: 'a stream network → client' } as const;
