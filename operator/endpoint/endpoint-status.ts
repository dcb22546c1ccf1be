import type { EndpointSnapshot } from '../../api/endpoint-snapshot.ts';
import { endpointId } from '../../api/names.ts';
import type { ClientVpnEndpointStatus } from '../../api/v1alpha1/generated/client-vpn-endpoint.ts';
import type { Route } from '../../api/v1alpha1/generated/route.ts';
import type { TargetNetwork } from '../../api/v1alpha1/generated/target-network.ts';
import type { RouteGap } from './checks/advisories.ts';
import {
  judgeAuthentication,
  judgeConnectHandler,
  judgeRevocationList,
  judgeServerCertificate,
} from './checks/endpoint.ts';
import { maxConnections } from './checks/quotas.ts';
import { vpcName } from './checks/target-networks.ts';
import type { Rejection } from './checks/verdict.ts';
import { finish, judgeAccepted, judgeProgrammed, nameOf, type StatusSurroundings } from './child-statuses.ts';
import type { CompileInput, ObjectStatus } from './compile-types.ts';
import { isFalse, isTrue, isUnknown, readyFrom, type Judgement } from './conditions.ts';

const DAY_MS = 86_400_000;

export interface EndpointOutcome {
  readonly rejection: Rejection | undefined;
  readonly snapshot: EndpointSnapshot | null;
  readonly networks: readonly TargetNetwork[];
  readonly manualRoutes: readonly Route[];
  readonly automaticRoutes: readonly Route[];
  readonly rules: number;
  readonly gaps: readonly RouteGap[];
}

/** The status of the endpoint itself, with its conditions. */
export function endpointStatus(
  input: CompileInput,
  outcome: EndpointOutcome,
  around: StatusSurroundings,
): Extract<ObjectStatus, { kind: 'ClientVpnEndpoint' }> {
  const { endpoint } = input;
  const accepted = judgeAccepted(outcome.rejection);
  const secrets = [
    judgeServerCertificate(input.facts),
    judgeAuthentication(endpoint, input.identityProviders, input.users, input.facts),
    judgeRevocationList(endpoint, input.facts),
    judgeConnectHandler(endpoint),
  ];
  const associated = judgeAssociated(input, outcome);
  const programmed = judgeProgrammed(undefined, around);
  const available = judgeAvailable(input, around, secrets);
  const needed = [accepted, ...secrets, associated, programmed, available];
  const ready = readyFrom(needed);
  const needsPerson = [accepted, ...secrets].find((one) => one.status === 'False');
  const stalledBy = needsPerson === undefined ? outcome.rejection : asRejection(needsPerson);
  const shown = [
    ...needed.slice(0, -2),
    judgeSymmetry(outcome.gaps),
    isTrue('DNSPublished', 'External'),
    programmed,
    available,
  ];
  return {
    kind: 'ClientVpnEndpoint',
    ...nameOf(endpoint.metadata),
    status: {
      ...facts(input, outcome),
      ...finish('ClientVpnEndpoint', endpoint.metadata, shown, ready, stalledBy, around),
    },
  };
}

function asRejection(judgement: Judgement): Rejection {
  return { reason: 'InvalidSpec', field: '-', message: judgement.message };
}

function judgeAssociated(input: CompileInput, outcome: EndpointOutcome): Judgement {
  const type = 'TargetNetworksAssociated';
  if (outcome.networks.length === 0) return isFalse(type, 'NoneAssociated', 'no target network is accepted');
  if (input.rollout === null) return isTrue(type, 'Associated');
  if ([...input.rollout.values()].some((state) => state.readyPods > 0)) return isTrue(type, 'Associated');
  return isFalse(type, 'NoneReady', 'no target network has a ready data plane');
}

function judgeSymmetry(gaps: readonly RouteGap[]): Judgement {
  if (gaps.length === 0) return isTrue('RoutesSymmetric', 'Symmetric');
  const missing = gaps.map((gap) => `${gap.targetNetwork} lacks ${gap.destination}`).join(', ');
  return isFalse('RoutesSymmetric', 'Asymmetric', `clients reach different networks by target network: ${missing}`);
}

function judgeAvailable(input: CompileInput, around: StatusSurroundings, secrets: readonly Judgement[]): Judgement {
  const type = 'Available';
  const expired = (condition: string): Judgement | undefined =>
    secrets.find((one) => one.type === condition && one.reason === 'Expired');
  const certificate = expired('ServerCertificateValid');
  if (certificate !== undefined) return isFalse(type, 'CertificateExpired', certificate.message);
  const list = expired('RevocationListValid');
  if (list !== undefined) return isFalse(type, 'CRLExpired', list.message);
  if (input.rollout === null) return isUnknown(type, 'NotRunning', 'no data plane is running');
  const serving = [...input.rollout.values()].some((state) => state.readyPods > 0 && state.enforcedDigest !== null);
  if (serving && around.digest !== null) return isTrue(type, 'Available');
  return isFalse(type, 'NoReadyPods', 'no data plane is ready');
}

function facts(input: CompileInput, outcome: EndpointOutcome): ClientVpnEndpointStatus {
  const { endpoint, quotas, rollout } = input;
  const rolled = [...(rollout?.values() ?? [])];
  const active = rolled.reduce((sum, state) => sum + state.activeConnections, 0);
  const capacity = outcome.snapshot?.maxConnections ?? maxConnections(0, 0);
  const certificate =
    input.facts?.serverCertificate.kind === 'read' ? input.facts.serverCertificate.facts.certificate : null;
  const list = input.facts?.revocationList?.kind === 'read' ? input.facts.revocationList.facts : null;
  const vpc = vpcName(endpoint, outcome.networks);
  return {
    endpointID: endpointId(endpoint.metadata),
    state: stateOf(input, outcome),
    ...(vpc === undefined ? {} : { vpcName: vpc }),
    securityGroups: securityGroupNames(input),
    ...(certificate === null
      ? {}
      : {
          serverCertificate: {
            subject: certificate.subject,
            sans: certificate.sans,
            notAfter: new Date(certificate.notAfter).toISOString(),
            fingerprint: certificate.fingerprint,
          },
        }),
    ...(list === null
      ? {}
      : {
          crl: {
            ...(list.nextUpdate === null
              ? {}
              : {
                  notAfter: new Date(list.nextUpdate).toISOString(),
                  daysToExpiry: Math.floor((list.nextUpdate - input.now) / DAY_MS),
                }),
            entries: list.entries,
            ...(list.digest === null ? {} : { digest: list.digest }),
          },
        }),
    counts: {
      targetNetworks: outcome.networks.length,
      routes: outcome.manualRoutes.length + outcome.automaticRoutes.length,
      authorizationRules: outcome.rules,
    },
    quotas: {
      routes: { limit: quotas.routes, used: outcome.manualRoutes.length },
      authorizationRules: { limit: quotas['authorization-rules'], used: outcome.rules },
      connections: { limit: capacity, used: active },
    },
    connections: {
      active,
      capacity,
      perTargetNetwork: [...(rollout ?? [])].map(([name, state]) => ({ name, active: state.activeConnections })),
    },
    ...(outcome.snapshot === null
      ? {}
      : {
          snapshot: {
            version: outcome.snapshot.version,
            digest: outcome.snapshot.digest,
            desiredPods: rolled.reduce((sum, state) => sum + state.desiredPods, 0),
            updatedPods: rolled
              .filter((state) => state.enforcedDigest === outcome.snapshot?.digest)
              .reduce((sum, state) => sum + state.readyPods, 0),
          },
        }),
  };
}

function stateOf(input: CompileInput, outcome: EndpointOutcome): 'pending-associate' | 'available' | 'deleting' {
  if (input.endpoint.metadata.deletionTimestamp !== undefined) return 'deleting';
  return outcome.networks.length === 0 ? 'pending-associate' : 'available';
}

/** Names of the groups in force; the default group when none is named. */
export function securityGroupNames(input: Pick<CompileInput, 'endpoint'>): readonly string[] {
  const names = (input.endpoint.spec.securityGroups ?? []).map((group) => group.name);
  return names.length === 0 ? ['default'] : names;
}
