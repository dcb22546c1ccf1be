// Garbage collections in the tunnel thread while it carries traffic: what arrives during one waits, and what finds the
// socket full meanwhile is lost.
import type { BenchContext } from './bench-context.ts';
import { Contention } from './machine.ts';
import { startOurServer } from './our-server.ts';
import { packets, pings, stream } from './traffic.ts';

/** Runs in every thread of the gateway; tunnel threads are its only workers. They tell at their end. */
const RECORDER = `
  import { isMainThread } from 'node:worker_threads';
  import { GCProfiler } from 'node:v8';
  import { writeSync } from 'node:fs';
  if (!isMainThread) {
    const profiler = new GCProfiler();
    profiler.start();
    process.on('exit', () => {
      const pausesMs = profiler.stop().statistics.map(({ cost }) => cost / 1000);
      writeSync(2, JSON.stringify({ collections: pausesMs }) + '\\n');
    });
  }`;

export async function benchCollections(context: BenchContext): Promise<void> {
  const { report, runs, seconds } = context;
  const contention = new Contention();
  const recorder = `data:text/javascript;base64,${Buffer.from(RECORDER).toString('base64')}`;
  const lane = await context.lane('gc');
  const server = await context.start(
    async () => {
      const started = await startOurServer(lane, 'udp', { environment: { NODE_OPTIONS: `--import=${recorder}` } });
      return { ...started, name: 'clientvpn, udp, recorded' };
    },
    ({ gateway }) => gateway.clientConfig({ client: 'bench' }),
  );
  if (server === undefined) return;
  await context.connect(server, 0);
  await context.connect(server, 1);
  let bytes = 0;
  let small = 0;
  let lost = 0;
  let sent = 0;
  for (let run = 0; run < runs; run++) {
    for (const direction of ['in', 'out'] as const) {
      const [flow, round] = await Promise.all([
        stream(lane.clients[1], direction, seconds + 1),
        pings(lane.clients[0], (seconds * 1000) / INTERVAL_MS, INTERVAL_MS),
      ]);
      bytes += flow.bytes;
      small += (await packets(lane.clients[1], direction, seconds)).packets;
      lost += round.lost;
      sent += round.sent;
    }
  }
  await server.gateway.stop();
  const line = await server.gateway.log.waitFor(/^\{"collections":/);
  const { collections } = JSON.parse(line) as { readonly collections: readonly number[] };
  const sum = collections.reduce((total, pause) => total + pause, 0);
  report.say(
    `Garbage collections in the tunnel thread, ${runs} streams of ${seconds + 1} s each way and as many of small packets`,
  );
  report.say(`  carried ${(bytes / 1e9).toFixed(1)} GB and ${(small / 1e6).toFixed(1)} million packets of 64 bytes`);
  report.say(
    `  ${collections.length} collections, ${sum.toFixed(1)} ms in all, longest ${Math.max(0, ...collections).toFixed(2)} ms`,
  );
  report.say(`  ${lost} of ${sent} pings beside the streams lost`);
  report.keep('collections', { contention: contention.read(), collections, bytes, small, lost, sent });
  context.sayContention(contention);
}

const INTERVAL_MS = 10;
