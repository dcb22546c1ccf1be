import type { TestContext } from 'node:test';
import type { EngineTimers } from '../../dataplane/process-messages.ts';
import { Agent } from './agent.ts';
import { Gateway } from './gateway.ts';
import { endpoint, rule, targetNetwork, yamlOf } from './manifests.ts';
import { Lab, TARGETS } from './netns.ts';
import { StockClient, type Credentials } from './stock-client.ts';

export interface WorldOptions {
  readonly clients?: number;
  /** Default: the endpoint, one target network and a rule for all users on its VPC. */
  readonly manifests?: Readonly<Record<string, string>>;
  readonly options?: readonly string[];
  readonly timers?: Partial<EngineTimers>;
  /** Of the gateway, beside what it inherits. */
  readonly environment?: Readonly<Record<string, string>>;
  /** False: the test starts the gateway itself. */
  readonly started?: boolean;
}

export interface ClientOptions {
  /** Number of the client's namespace. */
  readonly index?: number;
  /** Common name of the certificate; none for logins by password alone. */
  readonly certificate?: string | null;
  readonly credentials?: Credentials;
  /** Further options of openvpn's command line. */
  readonly options?: readonly string[];
  /** The file's text; made by `client-config` when absent. */
  readonly profile?: string;
}

/** A lab with a serving target and a gateway. Everything ends with the test; a failed test prints the logs. */
export class World {
  readonly lab: Lab;
  readonly target: Agent;
  readonly gateway: Gateway;
  readonly #clients: StockClient[] = [];
  readonly #agents = new Map<number, Agent>();

  private constructor(lab: Lab, options: WorldOptions) {
    this.lab = lab;
    this.target = new Agent(lab.target);
    const timers = options.timers === undefined ? {} : { CLIENTVPN_TIMERS_FOR_TEST: JSON.stringify(options.timers) };
    this.gateway = new Gateway({
      lab,
      manifests: options.manifests ?? DEFAULT_MANIFESTS,
      options: options.options ?? [],
      environment: { ...timers, ...options.environment },
    });
  }

  static async create(test: TestContext, options: WorldOptions = {}): Promise<World> {
    const lab = new Lab({ clients: options.clients ?? 1 });
    const world = new World(lab, options);
    test.after(() => {
      // The property is Node's; its types do not have it yet.
      world.#end((test as TestContext & { readonly passed: boolean }).passed);
      lab[Symbol.dispose]();
    });
    await world.target.serve(Object.values(TARGETS));
    if (options.started !== false) await world.gateway.start();
    return world;
  }

  /** Traffic from a client's namespace. */
  agent(index = 0): Agent {
    const known = this.#agents.get(index);
    if (known !== undefined) return known;
    const agent = new Agent(this.lab.client(index));
    this.#agents.set(index, agent);
    return agent;
  }

  /** Starts the real client; the caller waits for what it expects of it. */
  client(options: ClientOptions = {}): StockClient {
    const index = options.index ?? 0;
    const certificate = options.certificate === undefined ? `client-${index + 1}` : options.certificate;
    const client = new StockClient({
      namespace: this.lab.client(index),
      folder: this.lab.folder,
      name: `client-${index + 1}`,
      profile: options.profile ?? this.gateway.clientConfig(certificate === null ? {} : { client: certificate }),
      options: options.options ?? [],
      ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
    });
    this.#clients.push(client);
    return client;
  }

  async connect(options: ClientOptions = {}): Promise<StockClient> {
    return this.client(options).connected();
  }

  #end(passed: boolean): void {
    for (const client of this.#clients) client[Symbol.dispose]();
    for (const agent of [this.target, ...this.#agents.values()]) agent[Symbol.dispose]();
    // Tests that are about a good end stop the gateway themselves; the namespace takes the rest with it.
    this.gateway.signal('SIGKILL');
    if (!passed) this.#printLogs();
  }

  #printLogs(): void {
    for (const [index, { log }] of this.#clients.entries()) {
      console.log(
        `--- log of client ${index + 1}\n${log.lines
          .filter((line) => !/^ {2}\S+ = /.test(line))
          .slice(-60)
          .join('\n')}`,
      );
    }
    console.log(`--- log of the gateway\n${this.gateway.log.lines.slice(-80).join('\n')}`);
  }
}

export const DEFAULT_MANIFESTS: Readonly<Record<string, string>> = {
  'endpoint.yaml': yamlOf(endpoint(), targetNetwork()),
  'rules.yaml': yamlOf(rule('192.168.0.0/24')),
};
