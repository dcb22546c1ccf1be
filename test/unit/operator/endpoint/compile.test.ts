import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { snapshotDigest } from '../../../../api/snapshot-digest.ts';
import { parseEndpointSnapshot } from '../../../../api/parse-endpoint-snapshot.ts';
import { DEFAULT_QUOTAS } from '../../../../operator/endpoint/checks/quotas.ts';
import { compileSet } from '../../../../operator/endpoint/compile-set.ts';
import type { Rollout } from '../../../../operator/endpoint/compile-types.ts';
import type { EndpointFacts } from '../../../../operator/endpoint/facts.ts';
import { resource } from '../../../support/base-resources.ts';
import { compileObjects, conditionOf, findCondition, NOW, resourceSet } from '../../../support/compile-fixture.ts';
import {
  KEY,
  endpoint,
  local,
  network,
  route,
  localRoute,
  rule,
  aged,
  staff,
  users,
} from '../../../support/compile-objects.ts';

const certificate = { subject: 'CN=vpn', sans: ['DNS:vpn'], notBefore: 0, notAfter: NOW + 1e9, fingerprint: 'AB' };
const goodFacts: EndpointFacts = {
  serverCertificate: { kind: 'read', facts: { state: 'Valid', message: '', certificate } },
  clientCa: { kind: 'read', facts: { state: 'Valid', message: '', certificates: [certificate] } },
  revocationList: null,
  controlWrapKey: null,
};
const facts = (change: Partial<EndpointFacts> = {}): ReadonlyMap<string, EndpointFacts> =>
  new Map([[KEY, { ...goodFacts, ...change }]]);
const serving = (digest: string | null, readyPods = 1): ReadonlyMap<string, Rollout> =>
  new Map([[KEY, new Map([['net-a', { desiredPods: 1, readyPods, enforcedDigest: digest, activeConnections: 3 }]])]]);

describe('compile: endpoint', () => {
  it('children without an endpoint say so [C22]', () => {
    const result = compileObjects([network('net-a'), route('r', '10.60.0.0/16'), rule('u', '10.50.0.0/16')]);
    for (const name of ['TargetNetwork/net-a', 'Route/r', 'AuthorizationRule/u']) {
      assert.equal(conditionOf(result, name, 'Accepted'), 'False/EndpointNotFound');
    }
  });

  it('an endpoint of another namespace is not theirs', () => {
    const elsewhere = { ...network('net-a'), metadata: { name: 'net-a', namespace: 'other' } };
    const result = compileObjects([endpoint(), elsewhere]);
    assert.deepEqual(
      result.findings.map(({ reason }) => reason),
      ['EndpointNotFound'],
    );
  });

  it('the sixth of a namespace exceeds the quota [C24]', () => {
    const six = Array.from({ length: 6 }, (_, index) => aged(resource('ClientVpnEndpoint', `e${index}`), 10 - index));
    const result = compileObjects(six);
    assert.deepEqual(
      result.findings.map(({ name, reason }) => `${name} ${reason}`),
      ['e0 QuotaExceeded'],
    );
    assert.equal(result.endpoints.get('ClientVpnEndpoint/default/e0')?.snapshot, null);
    assert.deepEqual(compileObjects(six, { quotas: { endpoints: 6 } }).findings, []);
  });

  it('Secrets show in the conditions, and mending them heals [C17] [C18]', () => {
    const objects = [endpoint(), network('net-a')];
    const missing = compileObjects(objects, {
      facts: facts({ serverCertificate: { kind: 'missing', what: 'object', message: 'none' } }),
    });
    assert.equal(conditionOf(missing, 'ClientVpnEndpoint/corp', 'ServerCertificateValid'), 'False/SecretNotFound');
    assert.equal(conditionOf(missing, 'ClientVpnEndpoint/corp', 'Ready'), 'False/SecretNotFound');
    const expired = compileObjects(objects, {
      facts: facts({ serverCertificate: { kind: 'read', facts: { state: 'Expired', message: '', certificate } } }),
    });
    assert.equal(conditionOf(expired, 'ClientVpnEndpoint/corp', 'Available'), 'False/CertificateExpired');
    const snapshot = compileObjects(objects, { facts: facts() }).endpoints.get(KEY)?.snapshot ?? null;
    const healed = compileObjects(objects, { facts: facts(), rollouts: serving(snapshot?.digest ?? null) });
    assert.equal(conditionOf(healed, 'ClientVpnEndpoint/corp', 'Ready'), 'True/Ready');
    assert.equal(conditionOf(healed, 'ClientVpnEndpoint/corp', 'Stalled'), undefined);
  });

  it('a provider that is missing, of the wrong type or not ready keeps people out [C25]', () => {
    const missing = compileObjects([endpoint(local)]);
    assert.equal(conditionOf(missing, 'ClientVpnEndpoint/corp', 'Accepted'), 'False/IdentityProviderNotFound');
    assert.equal(missing.endpoints.get(KEY)?.snapshot, null);
    const federated = { authentication: { mutual: null, federated: { identityProviderRef: { name: 'staff' } } } };
    assert.equal(
      conditionOf(compileObjects([endpoint(federated), staff]), 'ClientVpnEndpoint/corp', 'Accepted'),
      'False/InvalidSpec',
    );
    const unread = compileObjects([endpoint(local), staff], {
      users: new Map([['IdentityProvider/default/staff', { kind: 'missing', what: 'object', message: 'none' }]]),
    });
    assert.equal(
      conditionOf(unread, 'ClientVpnEndpoint/corp', 'AuthenticationConfigured'),
      'False/IdentityProviderNotReady',
    );
    assert.equal(conditionOf(unread, 'IdentityProvider/staff', 'Ready'), 'False/UsersSecretNotFound');
  });

  it('an enabled connect handler lets nobody in while none can be asked', () => {
    const spec = { clientConnectHandler: { enabled: true, url: 'https://h.example' } };
    const result = compileObjects([endpoint(spec), network('net-a')]);
    assert.equal(result.endpoints.get(KEY)?.snapshot, null);
    assert.equal(conditionOf(result, 'ClientVpnEndpoint/corp', 'ConnectHandlerConfigured'), 'False/NotAllowed');
  });

  it('a deleted one takes no new connections [C21]', () => {
    const deleted = { ...endpoint(), metadata: { name: 'corp', deletionTimestamp: '2026-01-01T00:00:00Z' } };
    const result = compileObjects([deleted, network('net-a')]);
    assert.equal(result.endpoints.get(KEY)?.snapshot?.acceptNew, false);
    const status = result.statuses.get(KEY)?.status;
    assert.equal(status !== undefined && 'state' in status && status.state, 'deleting');
  });

  it('Programmed follows what data planes enforce', () => {
    const objects = [endpoint(), network('net-a'), rule('u', '10.50.0.0/16')];
    const digest = compileObjects(objects).endpoints.get(KEY)?.snapshot?.digest ?? null;
    const behind = compileObjects(objects, { facts: facts(), rollouts: serving('sha256:old') });
    assert.equal(conditionOf(behind, 'AuthorizationRule/u', 'Ready'), 'False/Propagating');
    const current = compileObjects(objects, { facts: facts(), rollouts: serving(digest) });
    assert.equal(conditionOf(current, 'AuthorizationRule/u', 'Ready'), 'True/Ready');
    assert.equal(conditionOf(current, 'Route/net-a-10-50-0-0-16', 'Programmed'), 'True/AllPodsCurrent');
  });

  it('a data plane that is not ready, or enforces nothing yet, serves nobody', () => {
    const objects = [endpoint(), network('net-a')];
    const down = compileObjects(objects, { facts: facts(), rollouts: serving(null, 0) });
    assert.equal(conditionOf(down, 'TargetNetwork/net-a', 'DataPlaneReady'), 'False/PodsNotScheduled');
    assert.equal(conditionOf(down, 'ClientVpnEndpoint/corp', 'TargetNetworksAssociated'), 'False/NoneReady');
    assert.equal(conditionOf(down, 'ClientVpnEndpoint/corp', 'Available'), 'False/NoReadyPods');
    const starting = compileObjects(objects, { facts: facts(), rollouts: serving(null) });
    assert.equal(conditionOf(starting, 'TargetNetwork/net-a', 'DataPlaneReady'), 'False/SnapshotNotApplied');
    assert.equal(conditionOf(starting, 'ClientVpnEndpoint/corp', 'TargetNetworksAssociated'), 'True/Associated');
    assert.equal(conditionOf(starting, 'ClientVpnEndpoint/corp', 'Available'), 'False/NoReadyPods');
  });

  it('an expired revocation list lets nobody in', () => {
    const list = { state: 'Expired', message: 'too old', nextUpdate: NOW - 1, entries: 3, digest: null } as const;
    const spec = { clientCertificateRevocationList: { source: { secretRef: { name: 'crl' } } } };
    const result = compileObjects([endpoint(spec), network('net-a')], {
      facts: facts({ revocationList: { kind: 'read', facts: list } }),
      rollouts: serving('sha256:any'),
    });
    assert.equal(conditionOf(result, 'ClientVpnEndpoint/corp', 'RevocationListValid'), 'False/Expired');
    assert.equal(conditionOf(result, 'ClientVpnEndpoint/corp', 'Available'), 'False/CRLExpired');
    assert.equal(conditionOf(result, 'ClientVpnEndpoint/corp', 'Ready'), 'False/Expired');
  });
});

describe('compile: snapshot', () => {
  const objects = [
    endpoint({ ...local, dnsServers: ['9.9.9.9'] }),
    staff,
    network('net-a'),
    network('net-b'),
    route('r1', '10.60.0.0/16'),
    route('r2', '0.0.0.0/0', { target: { targetNetworkRef: { name: 'net-b' } } }),
    localRoute('r3', '10.8.0.0/16'),
    rule('a', '10.50.0.0/16', 'Eng'),
    rule('b', '0.0.0.0/0'),
    rule('c', '10.50.0.0/16', 'Dev'),
  ];

  it('is the same whatever the order of the input [C69] [C78]', () => {
    const expected = compileObjects(objects, { users });
    fc.assert(
      fc.property(fc.shuffledSubarray(objects, { minLength: objects.length }), (shuffled) => {
        const result = compileObjects(shuffled, { users });
        assert.deepEqual(result.endpoints.get(KEY)?.snapshot, expected.endpoints.get(KEY)?.snapshot);
        assert.deepEqual(Object.fromEntries(result.statuses), Object.fromEntries(expected.statuses));
      }),
      { numRuns: 40 },
    );
  });

  it('keeps version and date until its content changes, then counts up by one', () => {
    const first = compileObjects(objects, { users }).endpoints.get(KEY)?.snapshot;
    assert.ok(first);
    assert.equal(first.version, 1);
    const previous = new Map([[KEY, first]]);
    const same = compileObjects(objects, { users, previous, now: NOW + 5000 }).endpoints.get(KEY)?.snapshot;
    assert.equal(same, first);
    const edited = compileObjects(objects.slice(0, -1), { users, previous }).endpoints.get(KEY)?.snapshot;
    assert.equal(edited?.version, 2);
    assert.notEqual(edited?.digest, first.digest);
    const again = compileObjects(objects, { users, previous, epoch: 2 }).endpoints.get(KEY)?.snapshot;
    assert.deepEqual([again?.epoch, again?.version], [2, 1]);
  });

  it('passes its own parser, and a changed one does not', () => {
    const snapshot = compileObjects(objects, { users }).endpoints.get(KEY)?.snapshot;
    assert.ok(snapshot);
    const copy = JSON.parse(JSON.stringify(snapshot));
    assert.deepEqual(parseEndpointSnapshot(copy), { ok: true, snapshot });
    assert.equal(snapshotDigest(copy), snapshot.digest);
    const bad = (change: object): unknown => parseEndpointSnapshot({ ...copy, ...change });
    assert.match(JSON.stringify(bad({ port: 1194 })), /digest: content gives/);
    assert.match(JSON.stringify(bad({ extra: 1 })), /extra: unknown field/);
    assert.match(
      JSON.stringify(bad({ rules: [{ name: 'x', cidr: '10.0.0.1/8', allUsers: true, groupID: null }] })),
      /rules\[0\]\.cidr/,
    );
    assert.match(
      JSON.stringify(bad({ rules: [{ name: 'x', cidr: '10.0.0.0/8', allUsers: false, groupID: null }] })),
      /rules\[0\]: expected either/,
    );
    for (const junk of [null, 1, 'x', [], {}]) assert.equal(parseEndpointSnapshot(junk).ok, false);
  });

  it('conditions keep their time while their status stays', () => {
    const first = compileObjects(objects, { users });
    const later = compileObjects(objects.slice(0, -1), { users, now: NOW + 60_000, previousStatuses: first.statuses });
    assert.equal(
      findCondition(later, 'TargetNetwork/net-a', 'Accepted')?.lastTransitionTime,
      '2026-01-02T03:04:05.000Z',
    );
    const orphaned = compileObjects(objects.slice(2), { now: NOW + 60_000, previousStatuses: first.statuses });
    assert.equal(
      findCondition(orphaned, 'TargetNetwork/net-a', 'Accepted')?.lastTransitionTime,
      '2026-01-02T03:05:05.000Z',
    );
  });

  it('10,000 rules at 10,000 prefixes, with the quota raised, are all in it, and one more is not', () => {
    const resources = resourceSet([endpoint(local), staff, rule('r', '10.50.0.0/16', 'g')]);
    const [pattern] = resources.rules;
    assert.ok(pattern !== undefined);
    const rules = Array.from({ length: 10_001 }, (_, index) => ({
      ...pattern,
      metadata: { ...pattern.metadata, name: `r${String(index).padStart(5, '0')}` },
      spec: { ...pattern.spec, destinationCIDR: `11.${index >> 8}.${index & 255}.0/24` },
    }));
    const result = compileSet({
      resources: { ...resources, rules },
      facts: new Map(),
      users,
      rollouts: new Map(),
      previous: new Map(),
      previousStatuses: new Map(),
      quotas: { ...DEFAULT_QUOTAS, 'authorization-rules': 10_000 },
      now: NOW,
      epoch: 1,
    });
    const refused = result.findings.filter(({ severity }) => severity === 'error');
    assert.deepEqual(
      refused.map(({ name, reason }) => `${name} ${reason}`),
      ['r10000 QuotaExceeded'],
    );
    assert.equal(result.endpoints.get(KEY)?.snapshot?.rules.length, 10_000);
  });
});
