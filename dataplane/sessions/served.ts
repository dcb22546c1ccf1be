import type { DataPlaneConfig } from '../../api/data-plane-config.ts';
import type { EndpointSnapshot, SnapshotRoute } from '../../api/endpoint-snapshot.ts';
import { TerminalError } from '../../net/errors.ts';
import { parseIpv4Prefix, type Ipv4Prefix } from '../../net/ipv4-prefix.ts';
import type { PolicyTables } from '../data-channel.ts';
import { compilePolicy, type GroupInterner } from '../policy/policy-tables.ts';
import { gatewayAddressOf } from './address-pool.ts';
import { controlWrapsFor, type ControlWraps } from './control-wraps.ts';
import { pushProblemOf, type PushedNetwork } from './push-options.ts';
import { Withdrawals } from './withdrawals.ts';

/** A configuration in the form the engine works with. */
export interface Served {
  readonly config: DataPlaneConfig;
  readonly snapshot: EndpointSnapshot;
  readonly clientCidr: Ipv4Prefix;
  readonly wraps: ControlWraps;
  readonly pushed: PushedNetwork;
  /** Routes of the target network being served. */
  readonly routes: readonly SnapshotRoute[];
  readonly withdrawals: Withdrawals;
}

/** @throws TerminalError when the configuration can't be served; the message is for a person. */
export function servedFrom(config: DataPlaneConfig): Served {
  const { snapshot } = config;
  const clientCidr = requirePrefix(snapshot.clientCIDR);
  const routes = snapshot.routing[config.targetNetwork];
  if (routes === undefined)
    throw new TerminalError(`The snapshot has no routing for the target network ${config.targetNetwork}`);
  const pushed = { ...snapshot.push, clientCidr, routes };
  const problem = pushProblemOf(pushed);
  if (problem !== undefined) throw new TerminalError(problem);
  return {
    config,
    snapshot,
    clientCidr,
    routes,
    pushed,
    wraps: controlWrapsFor(snapshot.controlWrap, config.secrets.controlWrapKey),
    withdrawals: new Withdrawals(config.secrets, snapshot.authentication),
  };
}

export function policyOf(served: Served, interner: GroupInterner, epoch: number): PolicyTables {
  return compilePolicy(
    {
      clientCidr: served.clientCidr,
      gatewayAddress: gatewayAddressOf(served.clientCidr),
      routes: served.routes.map((route) => ({ prefix: requirePrefix(route.cidr), via: route.via })),
      rules: served.snapshot.rules.map((rule) => ({
        prefix: requirePrefix(rule.cidr),
        allUsers: rule.allUsers,
        group: rule.groupID,
      })),
    },
    interner,
    epoch,
  );
}

function requirePrefix(text: string): Ipv4Prefix {
  const prefix = parseIpv4Prefix(text);
  if (prefix === undefined) throw new TerminalError(`"${text}" is no IPv4 network`);
  return prefix;
}
