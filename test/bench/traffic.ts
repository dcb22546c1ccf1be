import { LabError, type Namespace } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { runIn } from './commands.ts';
import { CONGESTION_CONTROL, TARGET_ADDRESS, type Lane } from './lane.ts';

/** in: client → network; out: network → client. */
export type Direction = 'in' | 'out';

export interface StreamResult {
  readonly bytes: number;
  readonly bitsPerSecond: number;
  readonly retransmits: number;
}

export interface PacketsResult {
  readonly packets: number;
  readonly perSecond: number;
  readonly lost: number;
}

export interface PingResult {
  readonly p50: number;
  readonly p99: number;
  readonly lost: number;
  readonly sent: number;
}

/** Starts the receiver of all traffic; it ends with the lane. */
export async function serveTraffic({ target }: Lane): Promise<void> {
  for (const port of PORTS) target.spawn('iperf3', ['-s', '-p', String(port)], { stdio: 'ignore' });
  await waitFor('iperf3', () => PORTS.every((port) => target.must('ss', '-Htln').includes(`:${port} `)));
}

/** One TCP stream for so many seconds. */
export async function stream(client: Namespace, direction: Direction, seconds: number): Promise<StreamResult> {
  const report = await iperf(client, direction, ['-t', String(seconds), '-C', CONGESTION_CONTROL]);
  const { sum_received: received, sum_sent: sent } = report.end;
  return { bytes: received.bytes, bitsPerSecond: received.bits_per_second, retransmits: sent.retransmits ?? 0 };
}

/** UDP packets of 64 bytes of payload as fast as they can be made. */
export async function packets(client: Namespace, direction: Direction, seconds: number): Promise<PacketsResult> {
  const report = await iperf(client, direction, ['-u', '-b', '0', '-l', '64', '-t', String(seconds)]);
  const { sum_received: received } = report.end;
  const count = (received.packets ?? 0) - (received.lost_packets ?? 0);
  return { packets: count, perSecond: count / received.seconds, lost: received.lost_packets ?? 0 };
}

/** Round trips through the tunnel in ms. */
export async function pings(client: Namespace, count: number, intervalMs: number): Promise<PingResult> {
  const options = ['-n', '-c', String(count), '-i', String(intervalMs / 1000), '-W', '1', TARGET_ADDRESS];
  const text = await runIn(client, 'ping', options);
  const times = [...text.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1])).sort((a, b) => a - b);
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? NaN;
  return { p50: at(0.5), p99: at(0.99), lost: count - times.length, sent: count };
}

async function iperf(client: Namespace, direction: Direction, options: readonly string[]): Promise<IperfReport> {
  const port = String(PORTS[nextPort++ % PORTS.length]);
  const reverse = direction === 'out' ? ['-R'] : [];
  const text = await runIn(client, 'iperf3', ['-c', TARGET_ADDRESS, '-p', port, '-J', ...reverse, ...options]);
  const report = JSON.parse(text) as IperfReport;
  if (report.error !== undefined) throw new LabError(`iperf3: ${report.error}`);
  return report;
}

interface IperfReport {
  readonly error?: string;
  readonly end: {
    readonly sum_received: IperfSum;
    readonly sum_sent: IperfSum;
  };
}

interface IperfSum {
  readonly bytes: number;
  readonly seconds: number;
  readonly bits_per_second: number;
  readonly retransmits?: number;
  readonly packets?: number;
  readonly lost_packets?: number;
}

/** One iperf3 server takes one test at a time, and needs a moment between two. */
const PORTS = [5201, 5202, 5203, 5204];
let nextPort = 0;
