import type { AuthorizationRule } from '../../api/v1alpha1/generated/authorization-rule.ts';
import type { ClientVpnEndpoint } from '../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { IdentityProvider } from '../../api/v1alpha1/generated/identity-provider.ts';
import type { Route } from '../../api/v1alpha1/generated/route.ts';
import type { TargetNetwork } from '../../api/v1alpha1/generated/target-network.ts';
import type { Condition } from '../../api/v1alpha1/condition.ts';
import { DEFAULT_QUOTAS, type Quotas } from '../../operator/endpoint/checks/quotas.ts';
import {
  compileSet,
  type CompileSetInput,
  type CompileSetResult,
  type ResourceSet,
} from '../../operator/endpoint/compile-set.ts';
import { loadValidator } from '../../standalone/check-manifests.ts';
import { documentOf, type Json } from './base-resources.ts';

export const NOW = Date.parse('2026-01-02T03:04:05Z');

const validator = await loadValidator();

/** Objects as manifests write them, through schema and defaults. */
export function resourceSet(objects: readonly Json[]): ResourceSet {
  const values = objects.map((object) => {
    const { value, findings } = validator.validate(documentOf(object));
    if (findings.length > 0)
      throw new TypeError(findings.map(({ field, message }) => `${field}: ${message}`).join('; '));
    return value;
  });
  // Each value has passed the schema that its type was generated from.
  const ofKind = <T extends { readonly kind: string }>(kind: T['kind']): readonly T[] =>
    (values as unknown as readonly T[]).filter((value) => value.kind === kind);
  return {
    endpoints: ofKind<ClientVpnEndpoint>('ClientVpnEndpoint'),
    targetNetworks: ofKind<TargetNetwork>('TargetNetwork'),
    routes: ofKind<Route>('Route'),
    rules: ofKind<AuthorizationRule>('AuthorizationRule'),
    identityProviders: ofKind<IdentityProvider>('IdentityProvider'),
  };
}

export interface CompileOverrides extends Partial<Omit<CompileSetInput, 'resources' | 'quotas'>> {
  readonly quotas?: Partial<Quotas>;
}

export function compileObjects(objects: readonly Json[], overrides: CompileOverrides = {}): CompileSetResult {
  return compileSet({
    facts: new Map(),
    users: new Map(),
    rollouts: new Map(),
    previous: new Map(),
    previousStatuses: new Map(),
    now: NOW,
    epoch: 1,
    ...overrides,
    resources: resourceSet(objects),
    quotas: { ...DEFAULT_QUOTAS, ...overrides.quotas },
  });
}

/** A condition of `Kind/name` in namespace default, as `Status/Reason`; undefined without it. */
export function conditionOf(
  result: Pick<CompileSetResult, 'statuses'>,
  object: string,
  type: string,
): string | undefined {
  const condition = findCondition(result, object, type);
  return condition === undefined ? undefined : `${condition.status}/${condition.reason}`;
}

export function findCondition(
  result: Pick<CompileSetResult, 'statuses'>,
  object: string,
  type: string,
): Condition | undefined {
  const [kind = '', name = ''] = object.split('/');
  return result.statuses.get(`${kind}/default/${name}`)?.status.conditions?.find((one) => one.type === type);
}
