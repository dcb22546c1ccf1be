// What a full login costs the server, and what 500 of them in 10 s do to a client that is there already.
import { text } from 'node:stream/consumers';
import { LabError } from '../support/netns.ts';
import type { BenchContext } from './bench-context.ts';
import type { Contender } from './contender.ts';
import { identityManifests, mintIdentities, type Identities } from './identities.ts';
import { SERVER_ADDRESS } from './lane.ts';
import type { LoginLoadFindings, LoginLoadPlan } from './login-load-main.ts';
import { Contention, cpuSecondsOf } from './machine.ts';
import { connectStockClient, profileFor, startOpenVpnServer } from './openvpn-server.ts';
import { startOurServer } from './our-server.ts';
import { ratio, Samples } from './report.ts';
import { inTurn } from './stock-client-bench.ts';
import { pings } from './traffic.ts';

export async function benchLogins(context: BenchContext): Promise<void> {
  const { report, runs } = context;
  const contention = new Contention();
  const rows: string[][] = [];
  const storms: string[][] = [];
  report.say(`Full logins, ${LOGINS} at ${PER_SECOND} a second, median of ${runs} runs`);
  for (const kind of ['EC', 'RSA'] as const) {
    const identities = mintIdentities(kind);
    const ours = await context.start(async () =>
      startOurServer(await context.lane(`o${kind}`), 'udp', { manifests: identityManifests(identities) }),
    );
    const theirs = await context.start(async () =>
      startOpenVpnServer(await context.lane(`v${kind}`), 'udp', identities),
    );
    const contenders = [ours, theirs].filter((contender) => contender !== undefined);
    const samples = new Samples();
    // A server that has just been started compiles what it runs: what its first logins cost is told apart.
    for (const contender of contenders) {
      const { cpuMs } = await measure(contender, identities);
      await logIn(contender, identities, WARM_UP, PER_SECOND);
      report.keep(`first-logins-${kind}, ${contender.name}`, { cpuMs });
      report.say(`  ${kind}, ${contender.name}: the first ${LOGINS} after its start, ${cpuMs.toFixed(2)} ms each`);
    }
    for (let run = 0; run < runs; run++) {
      for (const contender of inTurn(contenders, run))
        samples.add(contender.name, await measure(contender, identities));
    }
    for (const { name } of contenders) {
      rows.push([
        `${kind}, ${name}`,
        samples.median(name, 'cpuMs').toFixed(2),
        ratio(samples.median(name, 'cpuMs'), samples.median(contenders[1].name, 'cpuMs')),
        samples.median(name, 'medianMs').toFixed(0),
        samples.median(name, 'failed').toFixed(0),
      ]);
    }
    report.keep(`logins-${kind}`, { contention: contention.read(), samples });
    if (kind !== 'EC') continue;
    for (const contender of contenders) {
      await connectStockClient(contender.lane, 1, profileFor('udp', identities));
      const load = logIn(contender, identities, 500, 50);
      const round = await pings(contender.lane.clients[1], 1000, 10);
      const { succeeded } = await load;
      storms.push([
        contender.name,
        round.p50.toFixed(2),
        round.p99.toFixed(2),
        String(round.lost),
        `${succeeded} of 500`,
      ]);
      report.keep(`login-storm, ${contender.name}`, { ...round, succeeded });
    }
  }
  report.table(['', 'server CPU ms/login', 'ratio', 'median login ms', 'failed'], rows);
  report.say('Round trips of an established client during 500 logins in 10 s');
  report.table(['', 'p50 ms', 'p99 ms', 'lost of 1000', 'logged in'], storms);
  context.sayContention(contention);
}

interface LoginCost {
  readonly [measure: string]: number;
  readonly cpuMs: number;
  readonly medianMs: number;
  readonly failed: number;
}

async function measure(contender: Contender, identities: Identities): Promise<LoginCost> {
  const before = cpuSecondsOf(contender.pids);
  const { succeeded, medianMs } = await logIn(contender, identities, LOGINS, PER_SECOND);
  const cpu = cpuSecondsOf(contender.pids) - before;
  return { cpuMs: (cpu * 1000) / Math.max(1, succeeded), medianMs, failed: LOGINS - succeeded };
}

async function logIn(
  { lane }: Contender,
  { authority, client }: Identities,
  logins: number,
  perSecond: number,
): Promise<LoginLoadFindings> {
  const plan: LoginLoadPlan = {
    host: SERVER_ADDRESS,
    port: 1194,
    ca: authority.certificatePem,
    certificate: client.certificatePem,
    key: client.keyPem,
    logins,
    perSecond,
  };
  const program = new URL('login-load-main.ts', import.meta.url).pathname;
  const child = lane.clients[0].spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] });
  if (child.stdin === null || child.stdout === null) throw new LabError('The login load has no pipes');
  child.stdin.end(JSON.stringify(plan));
  return JSON.parse(await text(child.stdout)) as LoginLoadFindings;
}

const LOGINS = 100;
const WARM_UP = 400;
const PER_SECOND = 25;
