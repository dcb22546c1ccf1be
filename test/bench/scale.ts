// `make bench-scale`: thousands of clients on one gateway, in namespaces of its own. Prints tables and writes the numbers to
// .cache/bench. Nothing here passes or fails.
//
// BENCH_CLIENTS (2000), BENCH_HOLD_SECONDS (60); BENCH_ONLY picks from: scale, threads. The big one:
//   make bench-scale BENCH_CLIENTS=20000 BENCH_HOLD_SECONDS=600
import { missingForNamespaceTests } from '../support/requirements.ts';
import { sweepLeftovers } from '../support/sweep.ts';
import { Contention, describeMachine } from './machine.ts';
import { Report } from './report.ts';
import { measureScale } from './scale-run.ts';
import { compareThreads } from './scale-threads.ts';

const SECTIONS: Readonly<Record<string, (report: Report) => Promise<void>>> = {
  scale: (report) => measureScale(report, settings),
  threads: (report) => compareThreads(report),
};

const missing = missingForNamespaceTests();
if (missing.length > 0) {
  console.log(`Nothing can be measured here, because this machine lacks: ${missing.join('; ')}`);
  process.exit(1);
}
const settings = {
  clients: Number(process.env['BENCH_CLIENTS'] ?? 2000),
  holdSeconds: Number(process.env['BENCH_HOLD_SECONDS'] ?? 60),
};
const wanted = process.env['BENCH_ONLY']?.split(',') ?? Object.keys(SECTIONS);
sweepLeftovers();
const report = new Report();
report.say(`${describeMachine()}\n`);
const contention = new Contention();
try {
  for (const name of wanted) await SECTIONS[name]?.(report);
} finally {
  const { load, busy, steal } = contention.read();
  const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;
  report.say(`Load average ${load.toFixed(1)}, processors ${percent(busy)} busy, ${percent(steal)} stolen`);
  const facts = { machine: describeMachine(), ...settings, contention: { load, busy, steal } };
  report.say(`All numbers: ${report.write('scale', facts)}`);
}
process.exit(0);
