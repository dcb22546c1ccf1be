// Peers that segment: our server with the bench's own client, next to wireguard-go's pair and OpenVPN's.
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { LabError } from '../support/netns.ts';
import type { BenchContext } from './bench-context.ts';
import { DEFAULT_BUFFER_BYTES, type Contender } from './contender.ts';
import { SERVER_ADDRESS, TARGET_NETWORK, type Lane } from './lane.ts';
import { Contention } from './machine.ts';
import { startOurServer } from './our-server.ts';
import { ratio, Samples } from './report.ts';
import { inTurn, measureStream } from './stock-client-bench.ts';
import { startWireGuardPair } from './wireguard-pair.ts';
import type { SegmentingClientPlan } from './segmenting-client-main.ts';

export async function benchSegmentingPeer(context: BenchContext): Promise<void> {
  const { report, runs, seconds } = context;
  const ours = await context.start(async () => startWithSegmentingClient(await context.lane('oseg')));
  const openVpn = await context.openVpn('udp');
  await context.connect(openVpn, 0);
  const wireGuard = await context.start(async () => startWireGuardPair(await context.lane('wg'), report));
  const contenders = [ours, openVpn, wireGuard].filter((contender) => contender !== undefined);
  report.say(`Peers that segment, one TCP stream, median of ${runs} runs of ${seconds} s`);
  const contention = new Contention();
  const rows: string[][] = [];
  for (const direction of ['in', 'out'] as const) {
    const samples = new Samples();
    for (let run = 0; run < runs; run++) {
      for (const contender of inTurn(contenders, run)) {
        samples.add(contender.name, await measureStream(contender, direction, seconds));
      }
    }
    for (const { name } of contenders) {
      const beside = (measure: string): string =>
        contenders
          .slice(1)
          .map((other) => ratio(samples.median(name, measure), samples.median(other.name, measure)))
          .join(' / ');
      rows.push([
        `${direction === 'in' ? 'client → network' : 'network → client'}, ${name}`,
        samples.median(name, 'mbitPerSecond').toFixed(0),
        samples.median(name, 'cpuPerGb').toFixed(2),
        samples.median(name, 'retransmits').toFixed(0),
        beside('mbitPerSecond'),
        beside('cpuPerGb'),
      ]);
    }
    report.keep(`segmenting-${direction}`, { contention: contention.read(), samples });
  }
  const others = wireGuard === undefined ? 'OpenVPN' : 'OpenVPN / wireguard-go';
  report.table(
    ['', 'Mbit/s', 'server CPU s/GB', 'TCP retransmits', `throughput to ${others}`, `CPU to ${others}`],
    rows,
  );
  context.sayContention(contention);
}

async function startWithSegmentingClient(lane: Lane): Promise<Contender> {
  const server = await startOurServer(lane, 'udp');
  const profile = server.gateway.clientConfig({ client: 'bench' });
  const plan: SegmentingClientPlan = {
    host: SERVER_ADDRESS,
    port: 1194,
    ca: inlineOf(profile, 'ca'),
    certificate: inlineOf(profile, 'cert'),
    key: inlineOf(profile, 'key'),
    network: TARGET_NETWORK,
    bufferBytes: DEFAULT_BUFFER_BYTES,
  };
  const program = new URL('segmenting-client-main.ts', import.meta.url).pathname;
  const child = lane.clients[0].spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] });
  if (child.stdin === null || child.stdout === null) throw new LabError('The segmenting client has no pipes');
  child.stdin.end(JSON.stringify(plan));
  const lines = createInterface({ input: child.stdout });
  await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(() => Promise.reject(new LabError('The segmenting client ended'))),
  ]);
  return {
    ...server,
    name: 'clientvpn, segmenting client',
    stop: async () => {
      child.kill('SIGKILL');
      await server.stop();
    },
  };
}

/** The text between a profile's <name> tags. */
export function inlineOf(profile: string, name: string): string {
  return new RegExp(`<${name}>\\n([^]*?)</${name}>`).exec(profile)?.[1] ?? '';
}
