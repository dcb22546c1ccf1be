import { resource, type Json } from './base-resources.ts';

/** Objects of one endpoint, `corp`, with what a test is about patched in; and the key of its results. */
export const KEY = 'ClientVpnEndpoint/default/corp';
export const endpoint = (spec: Json = {}): Json => resource('ClientVpnEndpoint', 'corp', { spec });
export const local = { authentication: { mutual: null, local: { identityProviderRef: { name: 'staff' } } } };
export const network = (name: string, spec: Json = {}): Json =>
  resource('TargetNetwork', name, { spec: { zone: `zone-${name}`, ...spec } });
export const route = (name: string, destinationCIDR: string, spec: Json = {}): Json =>
  resource('Route', name, { spec: { destinationCIDR, ...spec } });
export const localRoute = (name: string, destinationCIDR: string): Json =>
  route(name, destinationCIDR, { target: { type: 'Local', targetNetworkRef: null } });
export const rule = (name: string, destinationCIDR: string, groupID?: string): Json =>
  resource('AuthorizationRule', name, {
    spec: { destinationCIDR, ...(groupID === undefined ? {} : { access: { allUsers: null, groupID } }) },
  });
export const aged = (object: Json, day: number): Json => ({
  ...object,
  metadata: { ...(object['metadata'] as Json), creationTimestamp: `2025-01-${String(day).padStart(2, '0')}T00:00:00Z` },
});
export const staff = resource('IdentityProvider', 'staff');
export const users = new Map([
  ['IdentityProvider/default/staff', { kind: 'read', facts: { state: 'Valid', message: '', users: 1 } } as const],
]);
