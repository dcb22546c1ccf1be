import type { StatusMap } from '../operator/endpoint/compile-types.ts';
import type { DataPlaneSupervisor } from './data-plane-supervisor.ts';
import { formatFinding } from './findings.ts';
import type { ServedSet } from './gateway-set.ts';
import type { GatewayStatus } from './gateway-status.ts';

/** Puts together what `clientvpn status` shows; remembers when conditions began. */
export class StatusReader {
  #statuses: StatusMap = new Map();

  async read(
    set: Pick<ServedSet, 'config' | 'warnings' | 'statuses'>,
    supervisor: Pick<DataPlaneSupervisor, 'enforcedDigest' | 'connections'>,
    refused: GatewayStatus['refused'],
  ): Promise<GatewayStatus> {
    const { config, warnings, statuses } = set;
    const { enforcedDigest } = supervisor;
    // None can be counted while the data plane is being restarted.
    const connections = await supervisor.connections().catch(() => null);
    const active = connections?.filter(({ status }) => status === 'active').length ?? null;
    const rollout = {
      desiredPods: 1,
      readyPods: enforcedDigest === null ? 0 : 1,
      enforcedDigest,
      activeConnections: active ?? 0,
    };
    this.#statuses = statuses(new Map([[config.targetNetwork, rollout]]), this.#statuses, Date.now());
    const { endpoint, transport, port, version, digest, maxConnections } = config.snapshot;
    return {
      endpoint: endpoint.name,
      namespace: endpoint.namespace,
      targetNetwork: config.targetNetwork,
      transport,
      port,
      state: enforcedDigest === null ? 'Restarting' : 'Ready',
      snapshot: enforcedDigest === digest ? { version, digest } : null,
      connections: { active, capacity: maxConnections },
      objects: [...this.#statuses.values()].map(({ kind, namespace, name, status }) => ({
        kind,
        namespace,
        name,
        conditions: status.conditions ?? [],
      })),
      refused,
      warnings: warnings.map(formatFinding),
    };
  }
}
