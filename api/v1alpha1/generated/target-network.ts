// Generated from crds/ by `make generate`; do not edit.
import type {Condition} from '../condition.ts';
import type {ObjectMeta} from '../object-meta.ts';

/**
 * A subnet through which an endpoint reaches its network. Clients connect to pods (or the gateway) of target networks.
 */
export interface TargetNetwork {
  readonly apiVersion: 'clientvpn.dev/v1alpha1';
  readonly kind: 'TargetNetwork';
  readonly metadata: ObjectMeta;
  readonly spec: TargetNetworkSpec;
  readonly status?: TargetNetworkStatus;
}
/**
 * What the target network shall be.
 */
export interface TargetNetworkSpec {
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
   * The zone of the subnet, a label value; an endpoint has one target network for each. Can't be changed later.
   */
  readonly zone: string;
  /**
   * The node label that holds the zone. Can't be changed later.
   */
  readonly zoneLabelKey: string;
  /**
   * The subnet.
   */
  readonly subnet: {
    /**
     * Its IPv4 network, /27 or larger. Can't be changed later.
     */
    readonly cidr: string;
    /**
     * How a pod gets into the subnet. Can't be changed later.
     */
    readonly attachment: {
      /**
       * `PodNetwork`: the cluster's own network. `NetworkAttachmentDefinition`: a second interface through Multus. `HostNetwork`: the network of the node.
       */
      readonly type: 'PodNetwork' | 'NetworkAttachmentDefinition' | 'HostNetwork';
      /**
       * The network to attach.
       */
      readonly networkAttachmentDefinition?: {
        /**
         * Namespace of the definition; by default the target network's.
         */
        readonly namespace?: string;
        /**
         * Name of the definition.
         */
        readonly name: string;
      };
    };
    /**
     * The subnet's router, for a NetworkAttachmentDefinition only.
     */
    readonly gateway?: string;
  };
  /**
   * The network behind the subnet. May be left to the endpoint if that names one.
   */
  readonly vpc?: {
    /**
     * The name by which target networks agree on their network; a DNS label.
     */
    readonly name: string;
    /**
     * Its IPv4 networks. Each becomes a route of this target network by itself.
     */
    readonly cidrs?: readonly string[];
  };
  /**
   * Free text for people.
   */
  readonly description?: string;
  /**
   * Pods for this target network, instead of the endpoint's number.
   */
  readonly replicas?: number;
  /**
   * Labels of the nodes on which the pods may run, instead of the endpoint's.
   */
  readonly nodeSelector?: {
    readonly [k: string]: string;
  };
  /**
   * Taints that the pods tolerate, instead of the endpoint's.
   */
  readonly tolerations?: readonly {
    /**
     * Key of the taint; empty matches all.
     */
    readonly key?: string;
    /**
     * How key and value are matched.
     */
    readonly operator?: 'Exists' | 'Equal';
    /**
     * Value of the taint.
     */
    readonly value?: string;
    /**
     * Effect of the taint; empty matches all.
     */
    readonly effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
    /**
     * For how long a `NoExecute` taint is tolerated.
     */
    readonly tolerationSeconds?: number;
  }[];
  /**
   * Requests and limits of the data-plane container, instead of the endpoint's.
   */
  readonly resources?: {
    /**
     * What the container is sure to get.
     */
    readonly requests?: {
      readonly [k: string]: string | number;
    };
    /**
     * What the container may use at most.
     */
    readonly limits?: {
      readonly [k: string]: string | number;
    };
  };
}
/**
 * What became of it.
 */
export interface TargetNetworkStatus {
  /**
   * The id of the association.
   */
  readonly associationID?: string;
  /**
   * State in the words of AWS Client VPN.
   */
  readonly state?: 'associating' | 'associated' | 'association-failed' | 'disassociating';
  /**
   * Names of the groups in force.
   */
  readonly securityGroups?: readonly string[];
  /**
   * Destinations of the automatic routes.
   */
  readonly localRoutes?: readonly string[];
  /**
   * Data-plane pods.
   */
  readonly pods?: {
    /**
     * How many there shall be.
     */
    readonly desired?: number;
    /**
     * How many serve.
     */
    readonly ready?: number;
    /**
     * How many run the current version.
     */
    readonly updated?: number;
    /**
     * How many are moving their clients away.
     */
    readonly draining?: number;
  };
  /**
   * Where clients reach it.
   */
  readonly addresses?: readonly string[];
  /**
   * Most connections that can be open.
   */
  readonly capacity?: number;
  /**
   * Open connections.
   */
  readonly activeConnections?: number;
  /**
   * The generation of the spec that this status is about.
   */
  readonly observedGeneration?: number;
  /**
   * Findings, one for each aspect; `Ready` sums them up.
   */
  readonly conditions?: readonly Condition[];
}
