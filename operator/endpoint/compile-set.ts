import type { EndpointSnapshot } from '../../api/endpoint-snapshot.ts';
import { objectKey, type Kind } from '../../api/names.ts';
import type { AuthorizationRule } from '../../api/v1alpha1/generated/authorization-rule.ts';
import type { ClientVpnEndpoint } from '../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { IdentityProvider } from '../../api/v1alpha1/generated/identity-provider.ts';
import type { Route } from '../../api/v1alpha1/generated/route.ts';
import type { TargetNetwork } from '../../api/v1alpha1/generated/target-network.ts';
import { judgeIdentityProvider } from './checks/identity-provider.ts';
import type { Quotas } from './checks/quotas.ts';
import type { Rejection } from './checks/verdict.ts';
import {
  finish,
  nameOf,
  routeStatus,
  ruleStatus,
  targetNetworkStatus,
  type StatusSurroundings,
} from './child-statuses.ts';
import { byKey, compile } from './compile.ts';
import type { CompileFinding, CompileResult, ObjectStatus, Rollout, StatusMap } from './compile-types.ts';
import { isTrue } from './conditions.ts';
import type { EndpointFacts, Found, UsersFacts } from './facts.ts';

/** All objects of all namespaces, checked and with defaults. */
export interface ResourceSet {
  readonly endpoints: readonly ClientVpnEndpoint[];
  readonly targetNetworks: readonly TargetNetwork[];
  readonly routes: readonly Route[];
  readonly rules: readonly AuthorizationRule[];
  readonly identityProviders: readonly IdentityProvider[];
}

/** Keys are those of `objectKey`, of the endpoint or provider. An endpoint without facts was not looked at. */
export interface CompileSetInput {
  readonly resources: ResourceSet;
  readonly facts: ReadonlyMap<string, EndpointFacts>;
  readonly users: ReadonlyMap<string, Found<UsersFacts>>;
  readonly rollouts: ReadonlyMap<string, Rollout>;
  readonly previous: ReadonlyMap<string, EndpointSnapshot>;
  readonly previousStatuses: StatusMap;
  readonly quotas: Quotas;
  readonly now: number;
  readonly epoch: number;
}

export interface CompileSetResult {
  /** By the endpoint's key. */
  readonly endpoints: ReadonlyMap<string, CompileResult>;
  /** Of every object of the set, and the automatic routes. */
  readonly statuses: StatusMap;
  readonly findings: readonly CompileFinding[];
}

/** Compiles every endpoint of a set, and judges the objects that belong to none. */
export function compileSet(input: CompileSetInput): CompileSetResult {
  const { resources } = input;
  const endpoints = new Map(
    resources.endpoints.map((endpoint) => {
      const key = objectKey('ClientVpnEndpoint', endpoint.metadata.namespace, endpoint.metadata.name);
      return [key, compileOne(endpoint, key, input)];
    }),
  );
  const orphans = compileOrphans(input);
  const providers = compileProviders(input);
  const results = [...endpoints.values(), orphans, providers];
  return {
    endpoints,
    statuses: new Map(results.flatMap((result) => [...result.statuses])),
    findings: results.flatMap((result) => result.findings),
  };
}

function compileOne(endpoint: ClientVpnEndpoint, key: string, input: CompileSetInput): CompileResult {
  const { namespace, name } = endpoint.metadata;
  const { resources } = input;
  const inNamespace = <T extends { readonly metadata: { readonly namespace: string } }>(objects: readonly T[]): T[] =>
    objects.filter((object) => object.metadata.namespace === namespace);
  const own = <T extends Child>(objects: readonly T[]): T[] =>
    inNamespace(objects).filter((object) => object.spec.endpointRef.name === name);
  const identityProviders = inNamespace(resources.identityProviders);
  return compile({
    endpoint,
    siblings: inNamespace(resources.endpoints),
    targetNetworks: own(resources.targetNetworks),
    routes: own(resources.routes),
    rules: own(resources.rules),
    identityProviders,
    users: new Map(
      identityProviders.flatMap(({ metadata }) => {
        const users = input.users.get(objectKey('IdentityProvider', namespace, metadata.name));
        return users === undefined ? [] : [[metadata.name, users] as const];
      }),
    ),
    facts: input.facts.get(key) ?? null,
    quotas: input.quotas,
    rollout: input.rollouts.get(key) ?? null,
    now: input.now,
    epoch: input.epoch,
    previous: input.previous.get(key) ?? null,
    previousStatuses: input.previousStatuses,
  });
}

type Child = TargetNetwork | Route | AuthorizationRule;

interface Part {
  readonly statuses: StatusMap;
  readonly findings: readonly CompileFinding[];
}

function compileOrphans(input: CompileSetInput): Part {
  const { resources } = input;
  const known = new Set(resources.endpoints.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
  const isOrphan = (child: Child): boolean => !known.has(`${child.metadata.namespace}/${child.spec.endpointRef.name}`);
  const around = surroundings(input);
  const statuses: ObjectStatus[] = [];
  const findings: CompileFinding[] = [];
  const judge = (kind: Kind, child: Child, status: (rejection: Rejection) => ObjectStatus): void => {
    const message = `there is no endpoint ${child.spec.endpointRef.name} in namespace ${child.metadata.namespace}`;
    const rejection: Rejection = { reason: 'EndpointNotFound', field: 'spec.endpointRef.name', message };
    statuses.push(status(rejection));
    findings.push({ severity: 'error', kind, ...nameOf(child.metadata), ...rejection });
  };
  for (const network of resources.targetNetworks.filter(isOrphan)) {
    judge('TargetNetwork', network, (rejection) => targetNetworkStatus(network, rejection, [], [], around));
  }
  for (const route of resources.routes.filter(isOrphan)) {
    judge('Route', route, (rejection) => routeStatus(route, rejection, [], around));
  }
  for (const rule of resources.rules.filter(isOrphan)) {
    judge('AuthorizationRule', rule, (rejection) => ruleStatus(rule, rejection, [], around));
  }
  return { statuses: byKey(statuses), findings };
}

function compileProviders(input: CompileSetInput): Part {
  const around = surroundings(input);
  const findings: CompileFinding[] = [];
  const statuses = input.resources.identityProviders.map((provider): ObjectStatus => {
    const { metadata } = provider;
    const users = input.users.get(objectKey('IdentityProvider', metadata.namespace, metadata.name));
    const ready = judgeIdentityProvider(provider, users);
    if (ready.status === 'False') {
      const field = provider.spec.type === 'Local' ? 'spec.local.usersSecretRef' : 'spec.type';
      const severity = ready.reason === 'UsersInvalid' ? 'error' : 'warning';
      const { reason, message } = ready;
      findings.push({ severity, kind: 'IdentityProvider', ...nameOf(metadata), field, reason, message });
    }
    const accepted = isTrue('Accepted', 'Accepted');
    const status = finish('IdentityProvider', metadata, [accepted], ready, undefined, around);
    return { kind: 'IdentityProvider', ...nameOf(metadata), status };
  });
  return { statuses: byKey(statuses), findings };
}

function surroundings(input: CompileSetInput): StatusSurroundings {
  const now = new Date(input.now).toISOString();
  return { now, previousStatuses: input.previousStatuses, rollout: null, digest: null };
}
