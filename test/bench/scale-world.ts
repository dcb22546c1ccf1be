import { readFileSync } from 'node:fs';
import { Gateway } from '../support/gateway.ts';
import { dataPlaneOf } from '../support/gateway-processes.ts';
import { endpoint, rule, secret, targetNetwork, yamlOf } from '../support/manifests.ts';
import { LabError } from '../support/netns.ts';
import { waitFor } from '../support/wait.ts';
import { DEFAULT_BUFFER_BYTES } from './contender.ts';
import { Lane, SERVER_ADDRESS, TARGET_NETWORK } from './lane.ts';
import { cpuSecondsOf } from './machine.ts';
import { LoadGenerator } from './scale-generator.ts';
import { metricsOf, samplesOf, sumOf } from './scale-metrics.ts';
import { ScaleIdentities } from './scale-identities.ts';

/** Traffic and probes come from these, so that what the crowd does to its own process is not taken for the gateway's. */
export const REGULARS = 200;
/** The first address belongs to a rule that comes and goes, the second to one that stays. */
export const GATED_ADDRESS = '192.168.1.10';

/**
 * A gateway with production's settings, and two generators:
 *
 *   crowd     any number of clients, from a few hundred /24 networks ──┐
 *   regulars  200 clients that have traffic ───────────────────────────┴── gateway ── target
 */
export class ScaleWorld implements AsyncDisposable {
  readonly lane: Lane;
  readonly gateway: Gateway;
  readonly regulars: LoadGenerator;
  readonly identities: ScaleIdentities;
  crowd: LoadGenerator;
  readonly #clients: number;
  #nextPort = FIRST_PORT;

  private constructor(parts: {
    readonly lane: Lane;
    readonly gateway: Gateway;
    readonly identities: ScaleIdentities;
    readonly clients: number;
    readonly regulars: LoadGenerator;
    readonly crowd: LoadGenerator;
  }) {
    this.lane = parts.lane;
    this.gateway = parts.gateway;
    this.identities = parts.identities;
    this.regulars = parts.regulars;
    this.crowd = parts.crowd;
    this.#clients = parts.clients;
    this.#nextPort += PORTS_PER_GENERATOR;
  }

  static async create(clients: number): Promise<ScaleWorld> {
    const lane = new Lane('scale');
    route(lane);
    const identities = await ScaleIdentities.mint();
    const gateway = await startGateway(lane, identities, {});
    const regulars = await LoadGenerator.start(lane.clients[1], {
      ...planFor(identities, 1, REGULARS),
      firstPort: FIRST_PORT,
    });
    const crowd = await LoadGenerator.start(lane.clients[0], {
      ...planFor(identities, 0, clients),
      firstPort: FIRST_PORT,
    });
    return new ScaleWorld({ lane, gateway, identities, clients, regulars, crowd });
  }

  /** Kills all of the crowd's sockets; the same people come back from other ports. */
  async replaceCrowd(): Promise<void> {
    this.crowd.kill();
    this.crowd = await LoadGenerator.start(this.lane.clients[0], {
      ...planFor(this.identities, 0, this.#clients),
      firstPort: this.#nextPort,
    });
    this.#nextPort += PORTS_PER_GENERATOR;
  }

  /** The process that serves; its supervisor is apart. */
  get dataPlane(): number {
    const pid = this.gateway.pid === undefined ? undefined : dataPlaneOf(this.gateway.pid);
    if (pid === undefined) throw new LabError('The gateway has no data plane');
    return pid;
  }

  /** Waits until another has taken its place. */
  async killDataPlane(): Promise<void> {
    const before = this.dataPlane;
    process.kill(before, 'SIGKILL');
    await waitFor(
      'another data plane',
      () => {
        const pid = this.gateway.pid === undefined ? undefined : dataPlaneOf(this.gateway.pid);
        return pid !== undefined && pid !== before;
      },
      30_000,
    );
  }

  /** Of the data plane and its supervisor. */
  cpuSeconds(): number {
    return cpuSecondsOf([this.gateway.pid ?? 0]);
  }

  residentBytes(): number {
    return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.dataPlane}/status`, 'utf8'))?.[1]);
  }

  /** Every sample of one metric, by its labels as they stand in the text. */
  metric(name: string): ReadonlyMap<string, number> {
    return samplesOf(metricsOf(this.lane.gateway), name);
  }

  sum(name: string): number {
    return sumOf(metricsOf(this.lane.gateway), name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.crowd.kill();
    this.regulars.kill();
    await this.gateway[Symbol.asyncDispose]().catch(() => this.gateway.signal('SIGKILL'));
    this.lane[Symbol.dispose]();
  }
}

/** A rule that grants the gated address, or an empty file. */
export function gatedRule(granted: boolean): string {
  return granted ? yamlOf(rule('192.168.1.0/24')) : '';
}

export function startGateway(
  lane: Lane,
  identities: ScaleIdentities,
  environment: Readonly<Record<string, string>>,
): Promise<Gateway> {
  const { server, authority } = identities;
  return Gateway.start({
    lab: lane,
    manifests: {
      'endpoint.yaml': yamlOf(
        endpoint({ spec: { clientCIDR: '10.128.0.0/15' } }),
        // A second network raises the guide's limit of 20,000 connections.
        targetNetwork('net-a', [TARGET_NETWORK, '192.168.1.0/24']),
        targetNetwork('net-b', [TARGET_NETWORK, '192.168.1.0/24']),
      ),
      'secrets.yaml': yamlOf(
        secret('server', {
          'tls.crt': server.certificatePem,
          'tls.key': server.keyPem,
          'ca.crt': authority.certificatePem,
        }),
        secret('clients', { 'ca.crt': authority.certificatePem }),
      ),
      'rules.yaml': yamlOf(rule(TARGET_NETWORK)),
      'gated.yaml': gatedRule(false),
    },
    options: ['--target-network', 'net-a', '--metrics-listen', '127.0.0.1:9099'],
    environment: { CLIENTVPN_SOCKET_BUFFER_FOR_TEST: String(DEFAULT_BUFFER_BYTES), ...environment },
  });
}

/** Clients' addresses are local to their namespaces, by route alone: 100.64.0.0/11 the crowd's, 100.96.0.0/11 the regulars'. */
function route(lane: Lane): void {
  for (const [index, network] of CLIENT_NETWORKS.entries()) {
    lane.clients[index].ip(`route add local ${network} dev lo`);
    lane.gateway.ip(`route add ${network} via 10.99.${index + 1}.2 dev wan${index}`);
  }
  lane.target.ip(`addr add ${GATED_ADDRESS}/32 dev lan0`);
  lane.gateway.ip('route add 192.168.1.0/24 dev lan0');
}

function planFor(identities: ScaleIdentities, index: 0 | 1, clients: number) {
  return {
    identities: identities.export(),
    certificates: Math.min(clients, CERTIFICATES),
    clients,
    server: { address: SERVER_ADDRESS, port: 1194 },
    firstNetwork: CLIENT_NETWORKS[index].split('/')[0] ?? '',
    // As at home: a few people behind each provider's /24, since an answer costs that network one of its 10 in a second.
    networks: Math.max(4, Math.ceil(clients / 5)),
    firstAddress: 0,
  };
}

const CLIENT_NETWORKS = ['100.64.0.0/11', '100.96.0.0/11'] as const;
/** Making a TLS context takes 1 ms or more of the generator's time, so clients share these. */
const CERTIFICATES = 1_000;
const FIRST_PORT = 20_000;
const PORTS_PER_GENERATOR = 16;
