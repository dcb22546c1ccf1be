import type { ConditionType } from '../../api/conditions.ts';
import { associationId, objectKey, ORIGIN_LABEL, type Kind } from '../../api/names.ts';
import type { Condition } from '../../api/v1alpha1/condition.ts';
import type { AuthorizationRule } from '../../api/v1alpha1/generated/authorization-rule.ts';
import type { Route } from '../../api/v1alpha1/generated/route.ts';
import type { TargetNetwork } from '../../api/v1alpha1/generated/target-network.ts';
import type { ObjectMeta } from '../../api/v1alpha1/object-meta.ts';
import type { Advisory, Rejection } from './checks/verdict.ts';
import type { ObjectStatus, Rollout, StatusMap } from './compile-types.ts';
import { conditionsFrom, isFalse, isTrue, isUnknown, progress, readyFrom, type Judgement } from './conditions.ts';

/** What every status needs to know beside its object. */
export interface StatusSurroundings {
  /** RFC 3339. */
  readonly now: string;
  readonly previousStatuses: StatusMap;
  readonly rollout: Rollout | null;
  /** Of the snapshot that shall be enforced; null when there is none. */
  readonly digest: string | null;
}

export function targetNetworkStatus(
  network: TargetNetwork,
  rejection: Rejection | undefined,
  localRoutes: readonly string[],
  securityGroups: readonly string[],
  around: StatusSurroundings,
): ObjectStatus {
  const served = around.rollout?.get(network.metadata.name);
  const accepted = judgeAccepted(rejection);
  const dataPlane = rejection === undefined ? judgeDataPlane(network.metadata.name, around) : undefined;
  const ready = readyFrom(dataPlane === undefined ? [accepted] : [accepted, dataPlane]);
  const state = stateOf(ready, rejection, 'associated', 'associating', 'association-failed');
  return {
    kind: 'TargetNetwork',
    ...nameOf(network.metadata),
    status: {
      associationID: associationId(network.metadata),
      state: network.metadata.deletionTimestamp === undefined ? state : 'disassociating',
      securityGroups,
      localRoutes,
      ...(served === undefined
        ? {}
        : {
            pods: { desired: served.desiredPods, ready: served.readyPods },
            activeConnections: served.activeConnections,
          }),
      ...finish(
        'TargetNetwork',
        network.metadata,
        [accepted, ...(dataPlane === undefined ? [] : [dataPlane])],
        ready,
        rejection,
        around,
      ),
    },
  };
}

export function routeStatus(
  route: Route,
  rejection: Rejection | undefined,
  advisories: readonly Advisory[],
  around: StatusSurroundings,
): ObjectStatus {
  const target = route.spec.target.targetNetworkRef?.name;
  const common = enforcedStatus('Route', route.metadata, rejection, advisories, target, around);
  const isAutomatic = route.metadata.labels?.[ORIGIN_LABEL] === 'associate';
  return {
    kind: 'Route',
    ...nameOf(route.metadata),
    status: {
      origin: isAutomatic ? 'associate' : 'add-route',
      state: stateOf(common.ready, rejection, 'active', 'creating', 'failed'),
      ...common.status,
    },
  };
}

export function ruleStatus(
  rule: AuthorizationRule,
  rejection: Rejection | undefined,
  advisories: readonly Advisory[],
  around: StatusSurroundings,
): ObjectStatus {
  const common = enforcedStatus('AuthorizationRule', rule.metadata, rejection, advisories, undefined, around);
  return {
    kind: 'AuthorizationRule',
    ...nameOf(rule.metadata),
    status: { state: stateOf(common.ready, rejection, 'active', 'authorizing', 'failed'), ...common.status },
  };
}

/** Accepted, Programmed, Advisory and Ready of an object that pods enforce. */
function enforcedStatus(
  kind: Kind,
  metadata: ObjectMeta,
  rejection: Rejection | undefined,
  advisories: readonly Advisory[],
  targetNetwork: string | undefined,
  around: StatusSurroundings,
): { readonly ready: Judgement; readonly status: CommonStatus } {
  const accepted = judgeAccepted(rejection);
  const programmed = rejection === undefined ? judgeProgrammed(targetNetwork, around) : undefined;
  const needed = programmed === undefined ? [accepted] : [accepted, programmed];
  const ready = readyFrom(needed);
  const advisory = judgeAdvisories(advisories);
  const shown = advisory === undefined ? needed : [...needed, advisory];
  return { ready, status: finish(kind, metadata, shown, ready, rejection, around) };
}

export function judgeAccepted(rejection: Rejection | undefined): Judgement {
  if (rejection === undefined) return isTrue('Accepted', 'Accepted');
  return isFalse('Accepted', rejection.reason, rejection.message);
}

function judgeAdvisories(advisories: readonly Advisory[]): Judgement | undefined {
  const [first] = advisories;
  if (first === undefined) return undefined;
  const message = advisories.map((advisory) => `${advisory.reason}: ${advisory.message}`).join('; ');
  return isTrue('Advisory', first.reason, message);
}

/** Whether the data planes (of one target network, or all that run) enforce the current snapshot. */
export function judgeProgrammed(targetNetwork: string | undefined, around: StatusSurroundings): Judgement {
  const type: ConditionType = 'Programmed';
  const { rollout, digest } = around;
  if (digest === null) return isFalse(type, 'NoSnapshot', 'the endpoint can not be served');
  if (rollout === null) return isUnknown(type, 'NotRunning', 'no data plane is running');
  const served = [...rollout].filter(([name]) => targetNetwork === undefined || name === targetNetwork);
  if (served.length === 0) {
    const which = targetNetwork === undefined ? 'the endpoint' : `target network ${targetNetwork}`;
    return isUnknown(type, 'NotServed', `no data plane serves ${which} here`);
  }
  const behind = served.filter(([, state]) => state.enforcedDigest !== digest).map(([name]) => name);
  if (behind.length === 0) return isTrue(type, 'AllPodsCurrent');
  return isFalse(type, 'Propagating', `not yet enforced by: ${behind.join(', ')}`);
}

function judgeDataPlane(name: string, around: StatusSurroundings): Judgement {
  const type: ConditionType = 'DataPlaneReady';
  if (around.rollout === null) return isUnknown(type, 'NotRunning', 'no data plane is running');
  const served = around.rollout.get(name);
  if (served === undefined) return isUnknown(type, 'NotServed', `no data plane serves target network ${name} here`);
  if (served.readyPods === 0) return isFalse(type, 'PodsNotScheduled', 'no data plane is ready');
  if (served.enforcedDigest === null) return isFalse(type, 'SnapshotNotApplied', 'no snapshot is enforced yet');
  return isTrue(type, 'Ready');
}

export interface CommonStatus {
  readonly observedGeneration?: number;
  readonly conditions: readonly Condition[];
}

/** Adds the summary and kstatus' helpers, and dates it all. */
export function finish(
  kind: Kind,
  metadata: ObjectMeta,
  judgements: readonly Judgement[],
  ready: Judgement,
  rejection: Rejection | undefined,
  around: Pick<StatusSurroundings, 'now' | 'previousStatuses'>,
): CommonStatus {
  const previous = around.previousStatuses.get(objectKey(kind, metadata.namespace, metadata.name));
  const all = [...judgements, ready, ...progress(ready, rejection !== undefined)];
  return {
    ...(metadata.generation === undefined ? {} : { observedGeneration: metadata.generation }),
    conditions: conditionsFrom(all, metadata, previous?.status.conditions, around.now),
  };
}

export function nameOf(metadata: ObjectMeta): { readonly namespace: string; readonly name: string } {
  return { namespace: metadata.namespace, name: metadata.name };
}

function stateOf<T>(ready: Judgement, rejection: Rejection | undefined, good: T, underway: T, failed: T): T {
  if (rejection !== undefined) return failed;
  return ready.status === 'True' ? good : underway;
}
