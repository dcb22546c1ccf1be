import type { Condition } from '../api/v1alpha1/condition.ts';

/** What `clientvpn status --output json` prints. */
export interface GatewayStatus {
  readonly endpoint: string;
  readonly namespace: string;
  readonly targetNetwork: string;
  readonly transport: 'udp' | 'tcp';
  readonly port: number;
  readonly state: 'Ready' | 'Restarting';
  /** What all tunnel threads enforce; null while the data plane is being restarted. */
  readonly snapshot: { readonly version: number; readonly digest: string } | null;
  /** As the endpoint's own status has them; `active` is null while no data plane answers. */
  readonly connections: { readonly active: number | null; readonly capacity: number };
  readonly objects: readonly StatusObject[];
  /** The last edit that was refused, as long as nothing good came after it. */
  readonly refused: { readonly time: string; readonly findings: readonly string[] } | null;
  readonly warnings: readonly string[];
}

export interface StatusObject {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly conditions: readonly Condition[];
}
