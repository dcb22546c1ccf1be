import { Gateway } from '../support/gateway.ts';
import { LabError } from '../support/netns.ts';
import { endpoint, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { DEFAULT_BUFFER_BYTES, socketBuffers, type Contender } from './contender.ts';
import { type Lane, TARGET_NETWORK } from './lane.ts';

/** `clientvpn standalone` with an endpoint, a target network and a rule for all users. */
export async function startOurServer(
  lane: Lane,
  transport: 'udp' | 'tcp',
  options: {
    readonly manifests?: Readonly<Record<string, string>>;
    readonly arguments?: readonly string[];
    readonly environment?: Readonly<Record<string, string>>;
  } = {},
): Promise<OurServer> {
  const gateway = await Gateway.start({
    lab: lane,
    manifests: options.manifests ?? {
      'endpoint.yaml': yamlOf(endpoint({ transport }), targetNetwork('net-a', [TARGET_NETWORK])),
      'rules.yaml': yamlOf(rule(TARGET_NETWORK)),
    },
    options: ['--metrics-listen', '127.0.0.1:9099', ...(options.arguments ?? [])],
    environment: { CLIENTVPN_SOCKET_BUFFER_FOR_TEST: String(DEFAULT_BUFFER_BYTES), ...options.environment },
  });
  if (gateway.pid === undefined) throw new LabError('The gateway has no process');
  return {
    name: `clientvpn, ${transport}`,
    lane,
    pids: [gateway.pid],
    description: ['clientvpn standalone --auto-pki', socketBuffers(lane, transport, 1194)],
    gateway,
    stop: async () => void (await gateway.stop()),
  };
}

export interface OurServer extends Contender {
  readonly gateway: Gateway;
}
