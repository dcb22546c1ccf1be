import assert from 'node:assert/strict';
import { mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { stringify } from 'yaml';
import { runValidate } from '../../../../../cli/validate.ts';
import {
  defaultCrdDirectory,
  readResourceSchemas,
  type CrdSchema,
} from '../../../../../standalone/resource-schemas.ts';
import { resource, type Json } from '../../../../support/base-resources.ts';
import { memoryIo } from '../../../../support/memory-io.ts';

/** What a gateway does; everything below a field that is named here. */
const SERVED: Readonly<Record<string, string>> = {
  ClientVpnEndpoint:
    'description clientCIDR serverCertificate authentication transport controlWrap controlWrapSecretRef blockLocal port ' +
    'splitTunnel dnsServers vpc connectionLogging.enabled connectionLogging.group connectionLogging.stream ' +
    // An error when it is enabled, and asked for nothing when not.
    'clientConnectHandler sessionTimeoutHours disconnectOnSessionTimeout clientLoginBanner ' +
    'clientCertificateRevocationList resetPolicy dataPlane.drainSeconds',
  TargetNetwork: 'description endpointRef zone subnet.cidr vpc',
  Route: 'description endpointRef destinationCIDR target',
  AuthorizationRule: 'description endpointRef destinationCIDR access',
  // Other types are not served at all, and say so at `type`.
  IdentityProvider: 'type local activeDirectory saml',
};

/** What it does not: where a finding says so, and how it is asked for. */
const NOT_SERVED: Readonly<Record<string, Readonly<Record<string, Json>>>> = {
  ClientVpnEndpoint: {
    bandwidthPerConnection: { bandwidthPerConnection: '10M' },
    'connectionLogging.sinks[1]': {
      connectionLogging: { sinks: [{ type: 'Stdout' }, { type: 'HTTP', endpoint: 'https://log.example' }] },
    },
    'selfServicePortal.enabled': {
      selfServicePortal: { enabled: true },
      authentication: { mutual: null, local: { identityProviderRef: { name: 'staff' } } },
    },
    dns: { dns: { domain: 'vpn.example' } },
    securityGroups: { securityGroups: [{ name: 'web' }] },
    routeDeletionPolicy: { routeDeletionPolicy: 'Retain' },
    'dataPlane.replicasPerTargetNetwork': { dataPlane: { replicasPerTargetNetwork: 2 } },
    'dataPlane.autoscaling': { dataPlane: { autoscaling: { minReplicas: 1, maxReplicas: 2 } } },
    'dataPlane.exposure': { dataPlane: { exposure: 'HostPort' } },
    'dataPlane.annotations': { dataPlane: { annotations: { a: 'b' } } },
    'dataPlane.loadBalancerClass': { dataPlane: { loadBalancerClass: 'fast' } },
    'dataPlane.resources': { dataPlane: { resources: { limits: { memory: '1Gi' } } } },
    'dataPlane.nodeSelector': { dataPlane: { nodeSelector: { a: 'b' } } },
    'dataPlane.tolerations': { dataPlane: { tolerations: [{ operator: 'Exists' }] } },
    'dataPlane.priorityClassName': { dataPlane: { priorityClassName: 'high' } },
    'dataPlane.image': { dataPlane: { image: 'gateway:2' } },
    'dataPlane.tunDevice': { dataPlane: { tunDevice: 'HostPath' } },
  },
  TargetNetwork: {
    zoneLabelKey: { zoneLabelKey: 'zone' },
    'subnet.attachment': {
      subnet: { attachment: { type: 'NetworkAttachmentDefinition', networkAttachmentDefinition: { name: 'lan' } } },
    },
    'subnet.gateway': { subnet: { gateway: '10.50.0.1' } },
    replicas: { replicas: 2 },
    nodeSelector: { nodeSelector: { a: 'b' } },
    tolerations: { tolerations: [{ operator: 'Exists' }] },
    resources: { resources: { limits: { memory: '1Gi' } } },
  },
};

async function warningsOf(kind: string, spec: Json): Promise<readonly string[]> {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-served-'));
  const others = ['ClientVpnEndpoint', 'TargetNetwork', 'IdentityProvider'].filter((one) => one !== kind);
  const names: Readonly<Record<string, string>> = { ClientVpnEndpoint: 'corp', TargetNetwork: 'net-a' };
  const nameOf = (one: string): string => names[one] ?? 'staff';
  const objects = [resource(kind, nameOf(kind), { spec }), ...others.map((one) => resource(one, nameOf(one)))];
  writeFileSync(join(folder.path, 'all.yaml'), objects.map((object) => stringify(object)).join('---\n'));
  const io = memoryIo();
  assert.equal(await runValidate({ manifests: [folder.path], quotas: {} }, io), 0, io.outText());
  return io
    .outText()
    .split('\n')
    .filter((line) => line.includes('NotServed'));
}

/** Paths of all fields below `spec` that have none below themselves, lists and maps among them. */
function leavesOf(schema: CrdSchema, path = ''): readonly string[] {
  const children = Object.entries(schema.properties ?? {});
  if (children.length === 0) return [path];
  return children.flatMap(([name, child]) => leavesOf(child, path === '' ? name : `${path}.${name}`));
}

describe('fields that are accepted and not served', async () => {
  const schemas = await readResourceSchemas(await defaultCrdDirectory());

  for (const [kind, fields] of Object.entries(NOT_SERVED))
    for (const [field, spec] of Object.entries(fields))
      it(`validate warns of ${kind} ${field}`, async () => {
        const warnings = await warningsOf(kind, spec);
        assert.equal(warnings.length, 1, warnings.join('\n'));
        assert.ok(warnings[0]?.includes(`: spec.${field}: warning: NotServed: is not served yet: `), warnings[0]);
      });

  it('says nothing where nobody asks for them', async () => {
    assert.deepEqual(await warningsOf('ClientVpnEndpoint', {}), []);
  });

  for (const [kind, served] of Object.entries(SERVED))
    it(`every field of ${kind} is served, or said not to be`, () => {
      const known = [
        ...served.split(' '),
        ...Object.keys(NOT_SERVED[kind] ?? {}).map((field) => field.replace(/\[.*/, '')),
      ];
      const spec = schemas.get(kind)?.properties?.['spec'];
      assert.ok(spec !== undefined);
      const unknown = leavesOf(spec).filter((leaf) => !known.some((field) => `${leaf}.`.startsWith(`${field}.`)));
      assert.deepEqual(unknown, []);
    });
});
