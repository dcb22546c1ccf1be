// A UDP relay that is bad at it: `udp-relay-main.ts PLAN`, the plan as JSON. Says "ready" and relays until it is killed.
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { randomFrom } from './seed.ts';

export interface RelayPlan {
  readonly host: string;
  readonly port: number;
  readonly delayMs: number;
  /** Up to this much more, for each packet anew: packets overtake one another. */
  readonly jitterMs: number;
  /** Share of packets that come twice, 0 to 1. */
  readonly duplicate: number;
  readonly seed: number;
}

if (import.meta.main) {
  const plan = JSON.parse(process.argv[2] ?? '') as RelayPlan;
  const random = randomFrom(plan.seed);
  const late = (act: () => void): void => {
    for (let copies = random() < plan.duplicate ? 2 : 1; copies > 0; copies -= 1)
      setTimeout(act, plan.delayMs + random() * plan.jitterMs);
  };
  const listener = createSocket('udp4');
  const upstreams = new Map<string, Socket>();
  listener.on('message', (bytes, client) => {
    const upstream = upstreams.get(keyOf(client)) ?? connectUpstream(client);
    late(() => upstream.send(bytes, plan.port, plan.host));
  });
  listener.bind(plan.port, () => console.log('ready'));

  function connectUpstream(client: RemoteInfo): Socket {
    const upstream = createSocket('udp4');
    upstreams.set(keyOf(client), upstream);
    upstream.on('message', (bytes) => late(() => listener.send(bytes, client.port, client.address)));
    return upstream;
  }
}

function keyOf({ address, port }: RemoteInfo): string {
  return `${address}:${port}`;
}
