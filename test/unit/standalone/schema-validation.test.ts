import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stringify } from 'yaml';
import { loadValidator } from '../../../standalone/check-manifests.ts';
import { formatFinding } from '../../../standalone/findings.ts';
import { loadManifests } from '../../../standalone/load-manifests.ts';
import { documentOf, resource, type Json } from '../../support/base-resources.ts';

describe('SchemaValidator', async () => {
  const validator = await loadValidator();
  const check = (object: Json): readonly string[] =>
    validator.validate(documentOf(object)).findings.map(({ field, message }) => `${field}: ${message}`);
  const endpoint = (spec: Json): Json => resource('ClientVpnEndpoint', 'corp', { spec });

  it('fills in the defaults of the schema, also below defaulted objects [C8]', () => {
    const { value, findings } = validator.validate(documentOf(resource('ClientVpnEndpoint', 'corp')));
    const spec = value['spec'] as Json;
    assert.deepEqual(findings, []);
    assert.equal(spec['transport'], 'udp');
    assert.equal(spec['port'], 443);
    assert.equal(spec['splitTunnel'], false);
    assert.equal(spec['sessionTimeoutHours'], 24);
    assert.equal(spec['disconnectOnSessionTimeout'], false);
    assert.equal(spec['controlWrap'], 'None');
    assert.equal(spec['dnsServers'], undefined);
    assert.equal(spec['clientLoginBanner'], undefined);
    assert.deepEqual(spec['dataPlane'], {
      replicasPerTargetNetwork: 1,
      exposure: 'LoadBalancerPerPod',
      drainSeconds: 300,
      tunDevice: 'Auto',
    });
    assert.deepEqual(value['metadata'], { name: 'corp', namespace: 'default' });
    const ca = (spec['authentication'] as { mutual: { clientCA: { secretRef: Json } } }).mutual.clientCA.secretRef;
    assert.equal(ca['key'], 'ca.crt');
  });

  it('never fills the manifest itself', () => {
    const document = documentOf(resource('ClientVpnEndpoint', 'corp'));
    validator.validate(document);
    assert.equal((document.value['spec'] as Json)['port'], undefined);
  });

  it('takes prefix lengths 12 and 22 and refuses 11 and 23 [C3]', () => {
    assert.deepEqual(check(endpoint({ clientCIDR: '10.16.0.0/12' })), []);
    assert.deepEqual(check(endpoint({ clientCIDR: '10.8.0.0/22' })), []);
    for (const clientCIDR of ['10.8.0.0/23', '10.0.0.0/11']) {
      assert.deepEqual(check(endpoint({ clientCIDR })), ['spec.clientCIDR: clientCIDR must be between /12 and /22']);
    }
  });

  it('takes ports 443 and 1194 on both transports, and no other [C9]', () => {
    for (const transport of ['udp', 'tcp']) {
      for (const port of [443, 1194]) assert.deepEqual(check(endpoint({ transport, port })), []);
    }
    assert.deepEqual(check(endpoint({ port: 8443 })), ['spec.port: 8443 is not one of 443, 1194']);
  });

  it('takes the methods that go together and refuses the others [C11]', () => {
    const user = { identityProviderRef: { name: 'p' } };
    assert.deepEqual(check(endpoint({ authentication: { activeDirectory: user } })), []);
    assert.deepEqual(check(endpoint({ authentication: { federated: user } })), []);
    assert.deepEqual(check(endpoint({ authentication: { mutual: null, local: user } })), []);
    const exclude = 'spec.authentication: activeDirectory, federated and local exclude each other';
    assert.deepEqual(check(endpoint({ authentication: { local: user, federated: user } })), [exclude]);
  });

  it('takes two name servers, and neither three nor the same twice [C13]', () => {
    assert.deepEqual(check(endpoint({ dnsServers: ['9.9.9.9', '1.1.1.1'] })), []);
    assert.equal(check(endpoint({ dnsServers: ['9.9.9.9', '1.1.1.1', '8.8.8.8'] })).length, 1);
    assert.deepEqual(check(endpoint({ dnsServers: ['9.9.9.9', '9.9.9.9'] })), ['spec.dnsServers[1]: is there twice']);
  });

  it('takes 8, 10, 12 and 24 session hours only [C14]', () => {
    for (const sessionTimeoutHours of [8, 10, 12, 24]) assert.deepEqual(check(endpoint({ sessionTimeoutHours })), []);
    assert.deepEqual(check(endpoint({ sessionTimeoutHours: 9 })), [
      'spec.sessionTimeoutHours: 9 is not one of 8, 10, 12, 24',
    ]);
  });

  it('counts the characters of a banner, not its bytes [C15]', () => {
    const banner = (text: string): readonly string[] => check(endpoint({ clientLoginBanner: { enabled: true, text } }));
    assert.deepEqual(banner('😀'.repeat(1400)), []);
    assert.equal(banner('😀'.repeat(1401)).length, 1);
    assert.equal(check(endpoint({ clientLoginBanner: { enabled: true, text: '' } })).length, 1);
  });

  it('takes group ids of 255 characters and refuses 256 and none [C74]', () => {
    const rule = (groupID: string): readonly string[] =>
      check(resource('AuthorizationRule', 'r', { spec: { access: { allUsers: null, groupID } } }));
    assert.deepEqual(rule('é'.repeat(255)), []);
    assert.equal(rule('g'.repeat(256)).length, 1);
    assert.equal(rule('').length, 1);
  });

  it('refuses a rule for nobody and for both [C73]', () => {
    const rule = (access: Json): readonly string[] => check(resource('AuthorizationRule', 'r', { spec: { access } }));
    const one = ['spec.access: exactly one of groupID and allUsers'];
    assert.deepEqual(rule({ allUsers: null }), one);
    assert.deepEqual(rule({ allUsers: false }), one);
    assert.deepEqual(rule({ groupID: 'Eng' }), one);
    assert.deepEqual(rule({ allUsers: false, groupID: 'Eng' }), []);
  });

  it('takes a /27 subnet and refuses /28 [C26]', () => {
    const network = (cidr: string): readonly string[] =>
      check(resource('TargetNetwork', 'n', { spec: { subnet: { cidr } } }));
    assert.deepEqual(network('10.50.0.32/27'), []);
    assert.deepEqual(network('10.50.0.16/28'), ['spec.subnet.cidr: subnet.cidr must be /27 or larger']);
  });

  it('refuses unknown fields at every depth, metadata too', () => {
    assert.deepEqual(
      check(
        resource('ClientVpnEndpoint', 'corp', {
          metadata: { lables: {} },
          spec: { vpn: 1, vpc: { name: 'a', cidr: [] } },
        }),
      ),
      ['metadata.lables: unknown field', 'spec.vpn: unknown field', 'spec.vpc.cidr: unknown field'],
    );
    assert.deepEqual(check(endpoint({ ['__proto__x']: 1 })), ['spec.__proto__x: unknown field']);
  });

  it('says all that is wrong in one run: schema and CEL, once each', () => {
    const findings = check(endpoint({ clientCIDR: 'nonsense', port: '443', dnsServers: ['::1'], transport: 'sctp' }));
    assert.deepEqual(findings.toSorted(), [
      'spec.clientCIDR: clientCIDR must be an IPv4 CIDR',
      'spec.dnsServers: IPv4 addresses only',
      'spec.port: "443" is not one of 443, 1194',
      'spec.port: must be integer, not "443"',
      'spec.transport: "sctp" is not one of udp, tcp',
    ]);
  });

  it('does not blame a rule for a value of the wrong type', () => {
    assert.deepEqual(check(endpoint({ clientCIDR: 10 })), ['spec.clientCIDR: must be string, not 10']);
    assert.deepEqual(check(endpoint({ clientCIDR: null })), ['spec.clientCIDR: is required']);
    assert.deepEqual(check(endpoint({ dnsServers: '9.9.9.9' })), ['spec.dnsServers: must be array, not "9.9.9.9"']);
  });

  it('points at the line of the field, or of its nearest parent', () => {
    const text = `apiVersion: clientvpn.dev/v1alpha1
kind: AuthorizationRule
metadata: { name: r }
spec:
  destinationCIDR: 10.0.0.1/16
  access:
    groupID: Eng
    allUsers: true
  oops: 1
`;
    const [document] = loadManifests([{ path: 'r.yaml', text }]).documents;
    assert.ok(document !== undefined);
    assert.deepEqual(validator.validate(document).findings.map(formatFinding), [
      'r.yaml:4: AuthorizationRule/r: spec.endpointRef: is required',
      'r.yaml:9: AuthorizationRule/r: spec.oops: unknown field',
      'r.yaml:5: AuthorizationRule/r: spec.destinationCIDR: destinationCIDR has host bits set',
      'r.yaml:6: AuthorizationRule/r: spec.access: exactly one of groupID and allUsers',
    ]);
  });

  it('accepts what kubectl prints: status, uid, managed fields', () => {
    const object = resource('Route', 'r', {
      metadata: { uid: 'u', resourceVersion: '1', generation: 2, creationTimestamp: null, managedFields: [{ a: 1 }] },
      status: { state: 'active', origin: 'add-route' },
    });
    assert.deepEqual(check({ ...object, metadata: { ...(object['metadata'] as Json), creationTimestamp: null } }), []);
    assert.ok(stringify(object).includes('uid'));
  });
});
