// Generated from crds/ by `make generate`; do not edit.
import type {Condition} from '../condition.ts';
import type {ObjectMeta} from '../object-meta.ts';

/**
 * Lets all users, or one group, reach a destination. For each packet the longest matching destination that has any rule decides alone.
 */
export interface AuthorizationRule {
  readonly apiVersion: 'clientvpn.dev/v1alpha1';
  readonly kind: 'AuthorizationRule';
  readonly metadata: ObjectMeta;
  readonly spec: AuthorizationRuleSpec;
  readonly status?: AuthorizationRuleStatus;
}
/**
 * What the rule shall be.
 */
export interface AuthorizationRuleSpec {
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
   * The IPv4 network that the rule is about; `0.0.0.0/0` is everything. Can't be changed later.
   */
  readonly destinationCIDR: string;
  /**
   * Who may reach the destination. Can't be changed later.
   */
  readonly access: {
    /**
     * Everybody who can connect.
     */
    readonly allUsers?: boolean;
    /**
     * Members of this group, as the identity provider names it (SID, id or name); compared byte for byte.
     */
    readonly groupID?: string;
  };
  /**
   * Free text for people.
   */
  readonly description?: string;
}
/**
 * What became of it.
 */
export interface AuthorizationRuleStatus {
  /**
   * State in the words of AWS Client VPN.
   */
  readonly state?: 'authorizing' | 'active' | 'failed' | 'revoking';
  /**
   * The generation of the spec that this status is about.
   */
  readonly observedGeneration?: number;
  /**
   * Findings, one for each aspect; `Ready` sums them up.
   */
  readonly conditions?: readonly Condition[];
}
