import { createHash } from 'node:crypto';

export const API_VERSION = 'clientvpn.dev/v1alpha1';

/** On automatic routes; the value is `associate`. */
export const ORIGIN_LABEL = 'clientvpn.dev/origin';

export type Kind = 'ClientVpnEndpoint' | 'TargetNetwork' | 'Route' | 'AuthorizationRule' | 'IdentityProvider';

/** Key of an object in maps of statuses: kind, namespace and name. */
export function objectKey(kind: Kind, namespace: string, name: string): string {
  return `${kind}/${namespace}/${name}`;
}

/** `cvpn-endpoint-` and 17 hex digits: of the UID, or of namespace and name where there is none. */
export function endpointId(metadata: {
  readonly uid?: string;
  readonly namespace: string;
  readonly name: string;
}): string {
  return `cvpn-endpoint-${idDigits(metadata, 'endpoint')}`;
}

/** `cvpn-assoc-` and 17 hex digits, of a target network. */
export function associationId(metadata: {
  readonly uid?: string;
  readonly namespace: string;
  readonly name: string;
}): string {
  return `cvpn-assoc-${idDigits(metadata, 'assoc')}`;
}

/** Name of the automatic route of a target network to one of its VPC's networks: `net-a-10-50-0-0-16`. */
export function automaticRouteName(targetNetwork: string, cidr: string): string {
  return `${targetNetwork}-${cidr.replaceAll(/[./]/g, '-')}`;
}

function idDigits(
  metadata: { readonly uid?: string; readonly namespace: string; readonly name: string },
  salt: string,
): string {
  const fromUid = (metadata.uid ?? '').replaceAll(/[^0-9a-f]/g, '').slice(0, 17);
  if (fromUid.length === 17) return fromUid;
  return createHash('sha256').update(`${salt}\0${metadata.namespace}\0${metadata.name}`).digest('hex').slice(0, 17);
}

/** Whether somebody means this object with `NAME` or `NAMESPACE/NAME`. */
export function isMeant(
  text: string,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): boolean {
  return text === name || text === `${namespace}/${name}`;
}
