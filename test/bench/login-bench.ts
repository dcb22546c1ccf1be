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
  report.say(`Full logins, ${PACES.map(inWords).join(', ')}, median of ${runs} runs`);
  for (const kind of ['EC', 'RSA'] as const) {
    const identities = mintIdentities(kind);
    const ours = await context.start(async () =>
      startOurServer(await context.lane(`o${kind}`), 'udp', { manifests: identityManifests(identities) }),
    );
    const theirs = await context.start(async () =>
      startOpenVpnServer(await context.lane(`v${kind}`), 'udp', identities),
    );
    const contenders = [ours, theirs].filter((contender) => contender !== undefined);
    // A server that has just been started compiles what it runs: what its first logins cost is told apart.
    for (const contender of contenders) {
      const { cpuMs } = await measure(contender, identities, PACES[0]);
      await logIn(contender, identities, WARM_UP);
      report.keep(`first-logins-${kind}, ${contender.name}`, { cpuMs });
      report.say(
        `  ${kind}, ${contender.name}: the first ${PACES[0].logins} after its start, ${cpuMs.toFixed(2)} ms each`,
      );
    }
    for (const pace of PACES) {
      const samples = new Samples();
      for (let run = 0; run < runs; run++) {
        for (const contender of inTurn(contenders, run))
          samples.add(contender.name, await measure(contender, identities, pace));
      }
      for (const { name } of contenders) {
        rows.push([
          `${kind}, ${pace.perSecond} a second, ${name}`,
          samples.median(name, 'cpuMs').toFixed(2),
          ratio(samples.median(name, 'cpuMs'), samples.median(contenders[1].name, 'cpuMs')),
          samples.median(name, 'medianMs').toFixed(0),
          samples.median(name, 'failed').toFixed(0),
        ]);
      }
      report.keep(`logins-${kind}, ${inWords(pace)}`, { contention: contention.read(), samples });
    }
    if (kind !== 'EC') continue;
    for (const contender of contenders) {
      await connectStockClient(contender.lane, 1, profileFor('udp', identities));
      const load = logIn(contender, identities, STORM);
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

interface Pace {
  readonly logins: number;
  readonly perSecond: number;
}

async function measure(contender: Contender, identities: Identities, pace: Pace): Promise<LoginCost> {
  const before = cpuSecondsOf(contender.pids);
  const { succeeded, medianMs } = await logIn(contender, identities, pace);
  const cpu = cpuSecondsOf(contender.pids) - before;
  return { cpuMs: (cpu * 1000) / Math.max(1, succeeded), medianMs, failed: pace.logins - succeeded };
}

async function logIn({ lane }: Contender, { authority, client }: Identities, pace: Pace): Promise<LoginLoadFindings> {
  const plan: LoginLoadPlan = {
    host: SERVER_ADDRESS,
    port: 1194,
    ca: authority.certificatePem,
    certificate: client.certificatePem,
    key: client.keyPem,
    ...pace,
  };
  const program = new URL('login-load-main.ts', import.meta.url).pathname;
  const child = lane.clients[0].spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] });
  if (child.stdin === null || child.stdout === null) throw new LabError('The login load has no pipes');
  child.stdin.end(JSON.stringify(plan));
  return JSON.parse(await text(child.stdout)) as LoginLoadFindings;
}

function inWords({ logins, perSecond }: Pace): string {
  return `${logins} at ${perSecond} a second`;
}

/** A quiet morning, more than an office brings, and what comes back after an outage. */
const PACES = [
  { logins: 100, perSecond: 25 },
  { logins: 400, perSecond: 100 },
  { logins: 600, perSecond: 200 },
] as const;
const WARM_UP = { logins: 400, perSecond: 25 };
const STORM = { logins: 500, perSecond: 50 };
