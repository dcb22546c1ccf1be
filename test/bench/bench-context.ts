import type { StockClient } from '../support/stock-client.ts';
import type { Contender } from './contender.ts';
import { mintIdentities } from './identities.ts';
import { Lane } from './lane.ts';
import type { Contention } from './machine.ts';
import { connectStockClient, startOpenVpnServer, type OpenVpnServer } from './openvpn-server.ts';
import { startOurServer, type OurServer } from './our-server.ts';
import type { Report } from './report.ts';
import { serveTraffic } from './traffic.ts';

/** What all sections share: settings, the report, and contenders that are started once and stay. */
export class BenchContext implements AsyncDisposable {
  readonly report: Report;
  readonly runs: number;
  readonly seconds: number;
  readonly #stack = new AsyncDisposableStack();
  readonly #ours = new Map<string, Promise<OurServer>>();
  readonly #openVpn = new Map<string, Promise<OpenVpnServer>>();
  readonly #profiles = new Map<Contender, string>();
  readonly #clients = new Map<string, Promise<StockClient>>();

  constructor(report: Report, options: { readonly runs: number; readonly seconds: number }) {
    this.report = report;
    this.runs = options.runs;
    this.seconds = options.seconds;
  }

  async lane(name: string): Promise<Lane> {
    const lane = new Lane(name);
    this.#stack.defer(() => lane[Symbol.dispose]());
    await serveTraffic(lane);
    return lane;
  }

  /** Our server with its default settings, one for each transport. */
  ours(transport: 'udp' | 'tcp'): Promise<OurServer> {
    return once(this.#ours, transport, async () => {
      const server = await startOurServer(await this.lane(`o${transport}`), transport);
      this.#keep(server, server.gateway.clientConfig({ client: 'bench' }));
      return server;
    });
  }

  openVpn(transport: 'udp' | 'tcp'): Promise<OpenVpnServer> {
    return once(this.#openVpn, transport, async () => {
      const identities = mintIdentities();
      const server = await startOpenVpnServer(await this.lane(`v${transport}`), transport, identities);
      this.#keep(server, server.profile);
      return server;
    });
  }

  /** The stock client in a namespace of the contender's lane, connected once. */
  connect(contender: Contender, index: 0 | 1): Promise<StockClient> {
    return once(this.#clients, `${contender.name} ${index}`, async () => {
      const client = await connectStockClient(contender.lane, index, this.#profiles.get(contender) ?? '');
      this.#stack.defer(() => client.stop());
      return client;
    });
  }

  /** Starts a contender that only one section needs. @returns undefined when it is not to be had. */
  async start<T extends Contender>(
    make: () => Promise<T | undefined>,
    profileOf: (contender: T) => string = () => '',
  ): Promise<T | undefined> {
    const contender = await make();
    if (contender !== undefined) this.#keep(contender, profileOf(contender));
    return contender;
  }

  sayContention(contention: Contention): void {
    const { load, busy, steal } = contention.read();
    const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;
    this.report.say(`  load average ${load.toFixed(1)}, processors ${percent(busy)} busy, ${percent(steal)} stolen\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #keep(contender: Contender, profile: string): void {
    this.#profiles.set(contender, profile);
    this.#stack.defer(() => contender.stop());
    for (const line of contender.description) this.report.say(`  ${contender.name}: ${line}`);
    this.report.say();
  }
}

async function once<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const existing = known.get(key);
  if (existing !== undefined) return existing;
  const made = make();
  known.set(key, made);
  return made;
}
