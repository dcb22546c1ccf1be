import { Gateway } from '../support/gateway.ts';
import { endpoint, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { LabError } from '../support/netns.ts';
import { DEFAULT_BUFFER_BYTES } from './contender.ts';
import { Lane, TARGET_NETWORK } from './lane.ts';
import { cpuSecondsOf } from './machine.ts';
import { connectStockClient } from './openvpn-server.ts';
import { ratio, Samples, type Report } from './report.ts';
import { metricsOf, sumOf } from './scale-metrics.ts';
import { inTurn } from './stock-client-bench.ts';
import { serveTraffic, stream, type Direction } from './traffic.ts';

/** Two stock clients at once through a gateway with one tunnel thread and through one with two, in turn. */
export async function compareThreads(report: Report): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const gateways = [await start(1, stack), await start(2, stack)];
  const samples = new Samples();
  for (const direction of ['in', 'out'] as const) {
    for (let run = 0; run < RUNS; run++) {
      for (const gateway of inTurn(gateways, run)) samples.add(gateway.name, await measure(gateway, direction));
    }
  }
  const rows = gateways.map((gateway) => {
    const metrics = metricsOf(gateway.lane.gateway);
    const [strays, floats] = ['stray_packets', 'floats'].map((name) => sumOf(metrics, `clientvpn_${name}_total`));
    samples.add(gateway.name, { strays, floats });
    const cells = (['in', 'out'] as const).flatMap((direction) => {
      const [rate, cpu] = ['mbitPerSecond', 'cpuPerGb'].map((measure) =>
        samples.median(gateway.name, `${direction} ${measure}`),
      );
      return [rate.toFixed(0), cpu.toFixed(2)];
    });
    return [gateway.name, ...cells, String(strays), String(floats)];
  });
  report.say(`Two stock clients at once, one TCP stream each, median of ${RUNS} runs of ${SECONDS} s`);
  report.table(['', 'in Mbit/s', 'CPU s/GB', 'out Mbit/s', 'CPU s/GB', 'strays', 'floats'], rows);
  const [one, two] = gateways;
  for (const direction of ['in', 'out'] as const) {
    const rate = ({ name }: ThreadedGateway): number => samples.median(name, `${direction} mbitPerSecond`);
    report.say(`  Two threads against one, ${direction}: ${ratio(rate(two), rate(one))}`);
  }
  report.say();
  report.keep('threads', samples);
}

interface ThreadedGateway {
  readonly name: string;
  readonly lane: Lane;
  readonly pid: number;
}

async function start(threads: 1 | 2, stack: AsyncDisposableStack): Promise<ThreadedGateway> {
  const lane = stack.use(new Lane(`threads${threads}`));
  await serveTraffic(lane);
  const gateway = await Gateway.start({
    lab: lane,
    manifests: {
      'endpoint.yaml': yamlOf(endpoint(), targetNetwork('net-a', [TARGET_NETWORK])),
      'rules.yaml': yamlOf(rule(TARGET_NETWORK)),
    },
    options: ['--metrics-listen', '127.0.0.1:9099'],
    environment: {
      CLIENTVPN_SOCKET_BUFFER_FOR_TEST: String(DEFAULT_BUFFER_BYTES),
      CLIENTVPN_THREADS_FOR_TEST: String(threads),
    },
  });
  stack.use(gateway);
  for (const index of [0, 1] as const) {
    const client = await connectStockClient(lane, index, gateway.clientConfig({ client: `client-${index + 1}` }));
    stack.defer(() => client.stop());
  }
  if (gateway.pid === undefined) throw new LabError('The gateway has no process');
  return { name: threads === 1 ? 'one tunnel thread' : 'two tunnel threads', lane, pid: gateway.pid };
}

async function measure({ lane, pid }: ThreadedGateway, direction: Direction): Promise<Record<string, number>> {
  const before = cpuSecondsOf([pid]);
  const streams = await Promise.all(lane.clients.map((client) => stream(client, direction, SECONDS)));
  const cpu = cpuSecondsOf([pid]) - before;
  const bytes = streams.reduce((sum, result) => sum + result.bytes, 0);
  const rate = streams.reduce((sum, result) => sum + result.bitsPerSecond, 0);
  return { [`${direction} mbitPerSecond`]: rate / 1e6, [`${direction} cpuPerGb`]: cpu / (bytes / 1e9) };
}

const RUNS = 5;
const SECONDS = 5;
