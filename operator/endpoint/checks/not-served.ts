import type { ClientVpnEndpoint } from '../../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { TargetNetwork } from '../../../api/v1alpha1/generated/target-network.ts';
import type { Advisory } from './verdict.ts';

/** What an endpoint asks for that this release accepts and does not do. Nobody is let in for it who should not be. */
export function endpointNotServed({ spec }: ClientVpnEndpoint): readonly Advisory[] {
  const { dataPlane } = spec;
  const sink = (spec.connectionLogging?.sinks ?? []).findIndex(({ type }) => type !== 'Stdout');
  return [
    ...about('bandwidthPerConnection', spec.bandwidthPerConnection !== undefined, 'no connection has a cap'),
    ...about(`connectionLogging.sinks[${sink}]`, sink >= 0, 'lines go to standard output alone'),
    ...about(
      'selfServicePortal.enabled',
      spec.selfServicePortal?.enabled === true,
      'client-config writes client files',
    ),
    ...about('dns', spec.dns !== undefined, 'nobody publishes the name'),
    ...about('securityGroups', (spec.securityGroups ?? []).length > 0, PODS),
    ...about('routeDeletionPolicy', spec.routeDeletionPolicy === 'Retain', 'files keep what is written in them'),
    ...about('dataPlane.replicasPerTargetNetwork', dataPlane.replicasPerTargetNetwork !== 1, PODS),
    ...about('dataPlane.exposure', dataPlane.exposure !== 'LoadBalancerPerPod', PODS),
    ...about('dataPlane.tunDevice', dataPlane.tunDevice !== 'Auto', PODS),
    ...POD_FIELDS.flatMap((field) => about(`dataPlane.${field}`, dataPlane[field] !== undefined, PODS)),
  ];
}

export function targetNetworkNotServed({ spec }: TargetNetwork): readonly Advisory[] {
  const { attachment, gateway } = spec.subnet;
  return [
    ...about('zoneLabelKey', spec.zoneLabelKey !== 'topology.kubernetes.io/zone', PODS),
    ...about('subnet.attachment', attachment.type === 'NetworkAttachmentDefinition', PODS),
    ...about('subnet.gateway', gateway !== undefined, PODS),
    ...NETWORK_POD_FIELDS.flatMap((field) => about(field, spec[field] !== undefined, PODS)),
  ];
}

function about(field: string, isAskedFor: boolean, instead: string): readonly Advisory[] {
  if (!isAskedFor) return [];
  return [{ reason: 'NotServed', field: `spec.${field}`, message: `is not served yet: ${instead}` }];
}

const PODS = 'it is about the pods of a cluster';
const POD_FIELDS = [
  'autoscaling',
  'annotations',
  'loadBalancerClass',
  'resources',
  'nodeSelector',
  'tolerations',
  'priorityClassName',
  'image',
] as const;
const NETWORK_POD_FIELDS = ['replicas', 'nodeSelector', 'tolerations', 'resources'] as const;
