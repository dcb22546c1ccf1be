import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Identity } from '../../../../api/authentication.ts';
import { Withdrawals } from '../../../../dataplane/sessions/withdrawals.ts';
import { dataPlaneConfig } from '../../../support/data-plane-configs.ts';

function identity(username: string, serial: string | null): Identity {
  return {
    username,
    commonName: username,
    certificateFingerprints: [],
    certificateSerial: serial === null ? null : { issuerNameHash: 'CA', serial },
    groups: [],
  };
}

function withdrawalsFrom(changes: Parameters<typeof dataPlaneConfig>[0]): Withdrawals {
  const { secrets, snapshot } = dataPlaneConfig(changes);
  return new Withdrawals(secrets, snapshot.authentication);
}

const LIST = {
  issuerNameHash: 'CA',
  nextUpdate: null,
  serialBytes: 2,
  serials: btoa('\u0000\u0005\u0001\u0000\u00ff\u00ff'),
};

test('finds the serials of a list, and none of another issuer', () => {
  const withdrawals = withdrawalsFrom({ revocation: { kind: 'List', lists: [LIST] } });
  for (const [serial, expected] of [
    ['5', 'certificate-revoked'],
    ['100', 'certificate-revoked'],
    ['FFFF', 'certificate-revoked'],
    ['6', undefined],
    ['1FFFF', undefined],
  ] as const)
    assert.equal(withdrawals.reasonFor(identity('alice', serial)), expected, serial);
  const foreign = { ...identity('alice', '5'), certificateSerial: { issuerNameHash: 'OTHER', serial: '5' } };
  assert.equal(withdrawals.reasonFor(foreign), undefined);
  assert.equal(withdrawals.reasonFor(identity('alice', null)), undefined);
});

test('knows users only where a local provider decides', () => {
  const users = [{ name: 'alice', passwordHash: '', groups: ['eng'] }];
  const local = withdrawalsFrom({
    users,
    snapshot: { authentication: { mutual: false, identityProvider: { name: 'p', type: 'Local', mfa: null } } },
  });
  assert.equal(local.reasonFor(identity('bob', null)), 'user-removed');
  assert.deepEqual(local.groupsOf(identity('alice', null)), ['eng']);
  const mutualOnly = withdrawalsFrom({ users });
  assert.equal(mutualOnly.reasonFor(identity('bob', null)), undefined);
  assert.equal(mutualOnly.groupsOf(identity('alice', null)), undefined);
});

test('[C76] takes the groups as they are now, and no more than 200 of them', () => {
  const groups = Array.from({ length: 201 }, (_, index) => `group-${index + 1}`);
  const local = withdrawalsFrom({
    users: [{ name: 'alice', passwordHash: '', groups }],
    snapshot: { authentication: { mutual: false, identityProvider: { name: 'p', type: 'Local', mfa: null } } },
  });
  assert.deepEqual(local.current({ ...identity('alice', null), groups: ['left'] }).groups, groups.slice(0, 200));
});
