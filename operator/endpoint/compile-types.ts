import type { EndpointSnapshot } from '../../api/endpoint-snapshot.ts';
import type { Kind } from '../../api/names.ts';
import type { AuthorizationRule, AuthorizationRuleStatus } from '../../api/v1alpha1/generated/authorization-rule.ts';
import type { ClientVpnEndpoint, ClientVpnEndpointStatus } from '../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { IdentityProvider, IdentityProviderStatus } from '../../api/v1alpha1/generated/identity-provider.ts';
import type { Route, RouteStatus } from '../../api/v1alpha1/generated/route.ts';
import type { TargetNetwork, TargetNetworkStatus } from '../../api/v1alpha1/generated/target-network.ts';
import type { Quotas } from './checks/quotas.ts';
import type { EndpointFacts, Found, UsersFacts } from './facts.ts';

/** All that is known about one endpoint. Objects have passed schema and CEL and have their defaults. */
export interface CompileInput {
  readonly endpoint: ClientVpnEndpoint;
  /** All endpoints of the namespace, for the quota; `endpoint` is among them. */
  readonly siblings: readonly ClientVpnEndpoint[];
  /** Those that refer to the endpoint, in any order. */
  readonly targetNetworks: readonly TargetNetwork[];
  readonly routes: readonly Route[];
  readonly rules: readonly AuthorizationRule[];
  /** Of the namespace. */
  readonly identityProviders: readonly IdentityProvider[];
  /** Facts about the users of Local providers, by the provider's name; none: nobody looked. */
  readonly users: ReadonlyMap<string, Found<UsersFacts>>;
  /** Null: nobody looked at the Secrets. */
  readonly facts: EndpointFacts | null;
  readonly quotas: Quotas;
  /** Who enforces what; null: nothing is running. */
  readonly rollout: Rollout | null;
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly epoch: number;
  /** The last snapshot of this endpoint, for version and date. */
  readonly previous: EndpointSnapshot | null;
  /** Statuses of the last compilation, for the times of conditions. */
  readonly previousStatuses: StatusMap;
}

/** Data planes by target network; one that is not listed is not served here. */
export type Rollout = ReadonlyMap<string, TargetNetworkRollout>;

export interface TargetNetworkRollout {
  readonly desiredPods: number;
  readonly readyPods: number;
  /** Digest that all ready pods enforce; null while none or not all the same. */
  readonly enforcedDigest: string | null;
  readonly activeConnections: number;
}

export interface CompileResult {
  /** Null when the endpoint can't be served; the conditions say why. */
  readonly snapshot: EndpointSnapshot | null;
  /** What decides about packets, there also when `snapshot` is null: `explain` answers from it. */
  readonly policy: Pick<EndpointSnapshot, 'clientCIDR' | 'rules' | 'routing'>;
  /** Of the endpoint, its children, and its automatic routes; by `objectKey`. */
  readonly statuses: StatusMap;
  readonly findings: readonly CompileFinding[];
}

export type StatusMap = ReadonlyMap<string, ObjectStatus>;

export type ObjectStatus =
  | {
      readonly kind: 'ClientVpnEndpoint';
      readonly namespace: string;
      readonly name: string;
      readonly status: ClientVpnEndpointStatus;
    }
  | {
      readonly kind: 'TargetNetwork';
      readonly namespace: string;
      readonly name: string;
      readonly status: TargetNetworkStatus;
    }
  | { readonly kind: 'Route'; readonly namespace: string; readonly name: string; readonly status: RouteStatus }
  | {
      readonly kind: 'AuthorizationRule';
      readonly namespace: string;
      readonly name: string;
      readonly status: AuthorizationRuleStatus;
    }
  | {
      readonly kind: 'IdentityProvider';
      readonly namespace: string;
      readonly name: string;
      readonly status: IdentityProviderStatus;
    };

/**
 * `error`: the object is not accepted or can't be served, or a Secret is there but wrong. `warning`: an advisory, or a
 * Secret is missing.
 */
export interface CompileFinding {
  readonly severity: 'error' | 'warning';
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  /** Dotted path, such as `spec.zone`. */
  readonly field: string;
  readonly reason: string;
  readonly message: string;
}
