// `make soak`: one gateway for SOAK_SECONDS at full speed, with logins, renewals and rule edits all the time. Prints what
// it used and lost; the status is 0 only if memory and descriptors stood still and no session was lost.
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describeMachine, Contention } from '../bench/machine.ts';
import { mint, CLIENT_AUTH } from '../support/certificates.ts';
import { descriptorsOf, gatewayProcesses, residentBytes, type GatewayProcesses } from '../support/gateway-processes.ts';
import { Gateway } from '../support/gateway.ts';
import { LogLines } from '../support/log-lines.ts';
import { endpoint, rule, secret, targetNetwork, yamlOf } from '../support/manifests.ts';
import { GATEWAY_ADDRESS, Lab, LabError, TARGETS, type Namespace } from '../support/netns.ts';
import { missingForNamespaceTests } from '../support/requirements.ts';
import { StockClient } from '../support/stock-client.ts';
import { waitFor } from '../support/wait.ts';
import type { LightLoginsPlan, LoginAttempt } from './light-logins-main.ts';
import { trendsOf, type Sample, type Trend } from './soak-verdict.ts';

const SECONDS = Number(process.env['SOAK_SECONDS'] ?? 1_800);
const RENEGOTIATE_MS = 20_000;
const LOGIN_INTERVAL_MS = 500;
const TURN_S = 20;
/** Of the table. */
const ROWS = 20;
const SAMPLE_MS = Math.min(10_000, Math.max(1_000, (SECONDS * 1_000) / 60));

const missing = missingForNamespaceTests();
if (missing.length > 0 || !(SECONDS >= 30)) {
  console.error(missing.length > 0 ? `The soak needs ${missing.join(', ')}` : 'SOAK_SECONDS is at least 30');
  process.exit(2);
}
async function soak(): Promise<number> {
  using stack = new DisposableStack();
  const lab = stack.use(new Lab({ clients: 3 }));
  const children: ChildProcess[] = [];
  stack.defer(() => children.forEach((child) => child.kill('SIGKILL')));
  const authority = await mint({ commonName: 'soak ca', authority: true });
  const certificate = await mint({ commonName: 'soak', issuer: authority, usages: [CLIENT_AUTH] });
  const gateway = new Gateway({
    lab,
    manifests: {
      'endpoint.yaml': yamlOf(endpoint(), targetNetwork(), secret('clients', { 'ca.crt': authority.certificatePem })),
      'rules.yaml': yamlOf(rule('192.168.0.0/24')),
    },
    environment: {
      CLIENTVPN_TIMERS_FOR_TEST: JSON.stringify({ renegotiateMs: RENEGOTIATE_MS }),
      NODE_OPTIONS: '--inspect=127.0.0.1:0',
    },
  });
  await gateway.start();
  stack.defer(() => gateway.signal('SIGKILL'));
  const processes = await gatewayProcesses(gateway);
  const profile = withCertificate(gateway.clientConfig(), certificate);
  const clients = [0, 1].map((index) => {
    const namespace = lab.client(index);
    return stack.use(
      new StockClient({ namespace, folder: lab.folder, name: `client-${index + 1}`, profile, options: [] }),
    );
  });
  for (const client of clients) await client.connected();

  const spawnIn = (namespace: Namespace, command: string, ...options: readonly string[]): ChildProcess => {
    const child = namespace.spawn(command, options, { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    return child;
  };
  spawnIn(lab.target, 'iperf3', '-s').stdout?.resume();
  await waitFor('iperf3', () => lab.target.must('ss', '-Htln').includes(':5201 '));

  console.log(`${describeMachine()}\nSoak of ${SECONDS} s\n`);
  const contention = new Contention();
  const pings = new LogLines();
  const ping = spawnIn(lab.client(1), 'ping', '-n', '-i', '0.1', TARGETS.vpc);
  if (ping.stdout !== null) pings.add(ping.stdout);
  const logins = startLogins(
    spawnIn(lab.client(2), process.execPath, programAt('light-logins-main.ts')),
    {
      host: GATEWAY_ADDRESS,
      port: 1194,
      ca: authority.certificatePem,
      certificate: certificate.certificatePem,
      key: certificate.keyPem,
      intervalMs: LOGIN_INTERVAL_MS,
    },
    gateway.clientConfig(),
  );
  const stop = new AbortController();
  const traffic = streamInTurns(lab.client(0), spawnIn, stop.signal);
  const edits = editEverySecond(gateway, stop.signal);
  const heap = spawnIn(lab.gateway, process.execPath, programAt('heap-main.ts'), ...debuggerUrls(gateway));
  const samples = await takeSamples(processes, heapReader(heap));
  // A process with a debugger does not end before that does.
  heap.stdin?.end();
  await once(heap, 'exit');
  stop.abort();
  ping.kill('SIGINT');
  const bytes = await traffic;
  const editCount = await edits;
  await sleep(500);

  const lost = clients.reduce((sum, { log }) => sum + connectionsIn(log) - 1, 0);
  const failedLogins = logins.filter(({ ok }) => !ok).length;
  const stopped = await gateway.stop();
  const trends = trendsOf(samples);
  const { busy, load } = contention.read();
  printSamples(samples);
  printTrends(trends);
  const renewals = clients.map((client) => client.keyExchanges() - 1);
  console.log(
    [
      '',
      `carried       ${(bytes / 1e9).toFixed(1)} GB in TCP streams of ${TURN_S} s, in turns to and from the network`,
      `logins        ${logins.length}, of which ${failedLogins} failed`,
      `renewals      ${renewals.join(' and ')} of the two clients that stay`,
      `rule edits    ${editCount}`,
      `ping          ${/(\d+) packets transmitted, .*/.exec(pings.lines.join('\n'))?.[0] ?? 'no answer'}`,
      `              ${/rtt .*/.exec(pings.lines.join('\n'))?.[0] ?? ''}`,
      `lost sessions ${lost}`,
      `machine       load ${load.toFixed(1)}, ${Math.round(100 * busy)} % busy`,
    ].join('\n'),
  );
  const failures = [
    ...trends.filter(({ isFlat }) => !isFlat).map(({ series }) => `${series} grew`),
    ...(lost > 0 ? [`${lost} sessions were lost`] : []),
    ...(failedLogins > 0 ? [`${failedLogins} logins failed`] : []),
    ...(logins.length === 0 ? ['nobody logged in'] : []),
    ...(stopped === 0 ? [] : [`the gateway ended with ${stopped}`]),
  ];
  console.log(`\nVerdict: ${failures.length === 0 ? 'flat, nothing lost' : failures.join('; ')}`);
  return failures.length === 0 ? 0 : 1;
}

async function takeSamples(processes: GatewayProcesses, heap: () => Promise<readonly number[]>): Promise<Sample[]> {
  const { parent, child } = processes;
  const started = performance.now();
  const samples: Sample[] = [];
  while (performance.now() - started < SECONDS * 1_000) {
    await sleep(SAMPLE_MS);
    const [parentHeap = NaN, childHeap = NaN] = await heap();
    samples.push({
      seconds: Math.round((performance.now() - started) / 1_000),
      parentResident: residentBytes(parent),
      childResident: residentBytes(child),
      parentHeap,
      childHeap,
      parentDescriptors: descriptorsOf(parent),
      childDescriptors: descriptorsOf(child),
    });
  }
  return samples;
}

/** @returns bytes carried. */
async function streamInTurns(
  client: Namespace,
  spawnIn: (namespace: Namespace, command: string, ...options: readonly string[]) => ChildProcess,
  signal: AbortSignal,
): Promise<number> {
  let bytes = 0;
  for (let turn = 0; !signal.aborted; turn += 1) {
    const direction = turn % 2 === 0 ? [] : ['-R'];
    const child = spawnIn(client, 'iperf3', '-c', TARGETS.vpc, '-J', '-t', String(TURN_S), ...direction);
    let text = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const onAbort = (): boolean => child.kill('SIGINT');
    signal.addEventListener('abort', onAbort, { once: true });
    await once(child, 'close');
    signal.removeEventListener('abort', onAbort);
    const report = JSON.parse(text === '' ? '{}' : text) as { end?: { sum_received?: { bytes?: number } } };
    bytes += report.end?.sum_received?.bytes ?? 0;
    if (report.end?.sum_received?.bytes === undefined) await sleep(500);
  }
  return bytes;
}

/** @returns the number of edits. */
async function editEverySecond(gateway: Gateway, signal: AbortSignal): Promise<number> {
  let count = 0;
  while (!signal.aborted) {
    gateway.write('rules.yaml', yamlOf(rule('192.168.0.0/24'), rule(`172.16.${count++ % 200}.0/24`)));
    await sleep(1_000);
  }
  return count;
}

/** @param profile names the authority of the server's certificate. */
function startLogins(child: ChildProcess, plan: LightLoginsPlan, profile: string): readonly LoginAttempt[] {
  const attempts: LoginAttempt[] = [];
  if (child.stdout === null) throw new LabError('The logins have no output');
  createInterface({ input: child.stdout }).on('line', (line) => attempts.push(JSON.parse(line) as LoginAttempt));
  const ca = /<ca>\n([^]*?)<\/ca>/.exec(profile)?.[1];
  if (ca === undefined) throw new LabError('The profile has no authority');
  child.stdin?.end(JSON.stringify({ ...plan, ca }));
  return attempts;
}

function heapReader(child: ChildProcess): () => Promise<readonly number[]> {
  if (child.stdout === null) throw new LabError('The heap reader has no output');
  const lines = createInterface({ input: child.stdout });
  return async () => {
    const answered = once(lines, 'line') as Promise<[string]>;
    child.stdin?.write('collect\n');
    return JSON.parse((await answered)[0]) as number[];
  };
}

/** The parent's inspector opens first. */
function debuggerUrls(gateway: Gateway): readonly string[] {
  const urls = gateway.log.lines.flatMap((line) => /^Debugger listening on (ws:\S+)/.exec(line)?.[1] ?? []);
  if (urls.length !== 2) throw new LabError(`Expected two inspectors, found ${urls.length}`);
  return urls;
}

function withCertificate(
  profile: string,
  { certificatePem, keyPem }: { certificatePem: string; keyPem: string },
): string {
  const without = profile.replaceAll(/<(cert|key)>\n[^]*?<\/\1>\n/g, '');
  return `${without}\n<cert>\n${certificatePem}</cert>\n<key>\n${keyPem}</key>\n`;
}

function connectionsIn(log: LogLines): number {
  return log.lines.filter((line) => line.includes('Initialization Sequence Completed')).length;
}

function programAt(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

function printSamples(samples: readonly Sample[]): void {
  const step = Math.max(1, Math.floor(samples.length / ROWS));
  console.log('      s   parent RSS     heap   fds    child RSS     heap   fds');
  for (const sample of samples.filter((_, index) => index % step === 0)) {
    const { seconds, parentResident, parentHeap, parentDescriptors, childResident, childHeap, childDescriptors } =
      sample;
    const columns = [
      String(seconds).padStart(7),
      megabytes(parentResident).padStart(12),
      megabytes(parentHeap).padStart(9),
      String(parentDescriptors).padStart(5),
      megabytes(childResident).padStart(12),
      megabytes(childHeap).padStart(9),
      String(childDescriptors).padStart(5),
    ];
    console.log(columns.join(' '));
  }
}

function printTrends(trends: readonly Trend[]): void {
  console.log('\nmedian of      middle third   last third');
  for (const { series, middle, last, isFlat } of trends) {
    const show = series.endsWith('Descriptors') ? String : megabytes;
    console.log(
      `${series.padEnd(18)} ${show(middle).padStart(8)} ${show(last).padStart(12)}   ${isFlat ? 'flat' : 'GREW'}`,
    );
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

process.exit(await soak());
