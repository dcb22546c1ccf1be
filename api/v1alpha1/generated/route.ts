// Generated from crds/ by `make generate`; do not edit.
import type {Condition} from '../condition.ts';
import type {ObjectMeta} from '../object-meta.ts';

/**
 * A destination that clients of one target network (or, if local, other clients) can be sent to. A rule must allow it as well.
 */
export interface Route {
  readonly apiVersion: 'clientvpn.dev/v1alpha1';
  readonly kind: 'Route';
  readonly metadata: ObjectMeta;
  readonly spec: RouteSpec;
  readonly status?: RouteStatus;
}
/**
 * What the route shall be.
 */
export interface RouteSpec {
  /**
   * The ClientVpnEndpoint, in the same namespace. Can't be changed later.
   */
  readonly endpointRef: {
    /**
     * Its name.
     */
    readonly name: string;
  };
  /**
   * The IPv4 network that the route leads to; `0.0.0.0/0` is everything. Can't be changed later.
   */
  readonly destinationCIDR: string;
  /**
   * Where packets for the destination go. Can't be changed later.
   */
  readonly target: {
    /**
     * `TargetNetwork`: out through that target network. `Local`: to other clients.
     */
    readonly type: 'TargetNetwork' | 'Local';
    /**
     * The target network, in the same namespace.
     */
    readonly targetNetworkRef?: {
      /**
       * Its name.
       */
      readonly name: string;
    };
  };
  /**
   * Free text for people.
   */
  readonly description?: string;
}
/**
 * What became of it.
 */
export interface RouteStatus {
  /**
   * `associate` for an automatic route, `add-route` for one added by hand.
   */
  readonly origin?: 'associate' | 'add-route';
  /**
   * State in the words of AWS Client VPN.
   */
  readonly state?: 'creating' | 'active' | 'failed' | 'deleting';
  /**
   * The generation of the spec that this status is about.
   */
  readonly observedGeneration?: number;
  /**
   * Findings, one for each aspect; `Ready` sums them up.
   */
  readonly conditions?: readonly Condition[];
}
