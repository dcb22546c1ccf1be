// `make bench`: our server beside others on this machine, in namespaces of its own. Prints a table and writes the
// numbers of every run to .cache/bench. Nothing here passes or fails.
//
// BENCH_RUNS (5) and BENCH_SECONDS (5) are the runs of each kind and their length; BENCH_ONLY picks sections.
import { sweepLeftovers } from '../support/sweep.ts';
import { missingForNamespaceTests } from '../support/requirements.ts';
import { BenchContext } from './bench-context.ts';
import { benchCollections } from './collections-bench.ts';
import { benchLatency } from './latency-bench.ts';
import { benchLogins } from './login-bench.ts';
import { describeMachine } from './machine.ts';
import { benchPackets } from './packets-bench.ts';
import { Report } from './report.ts';
import { benchRevocation } from './revocation-bench.ts';
import { benchRules } from './rules-bench.ts';
import { benchSegmentingPeer } from './segmenting-bench.ts';
import { benchStockClient } from './stock-client-bench.ts';

const SECTIONS: Readonly<Record<string, (context: BenchContext) => Promise<void>>> = {
  'stock-udp': (context) => benchStockClient(context, 'udp'),
  'stock-tcp': (context) => benchStockClient(context, 'tcp'),
  segmenting: benchSegmentingPeer,
  packets: benchPackets,
  latency: benchLatency,
  collections: benchCollections,
  logins: benchLogins,
  rules: benchRules,
  revocation: benchRevocation,
};

const missing = missingForNamespaceTests();
if (missing.length > 0) {
  console.log(`Nothing can be measured here, because this machine lacks: ${missing.join('; ')}`);
  process.exit(1);
}
const wanted = process.env['BENCH_ONLY']?.split(',') ?? Object.keys(SECTIONS);
const settings = { runs: Number(process.env['BENCH_RUNS'] ?? 5), seconds: Number(process.env['BENCH_SECONDS'] ?? 5) };
sweepLeftovers();
const report = new Report();
report.say(`${describeMachine()}\n`);
{
  await using context = new BenchContext(report, settings);
  for (const name of wanted) await SECTIONS[name]?.(context);
}
report.say(`All runs: ${report.write('throughput', { machine: describeMachine(), ...settings })}`);
process.exit(0);
