import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DataPlaneMessage } from '../../../dataplane/process-messages.ts';
import { connectionFrom } from '../../../dataplane/sessions/connection-history.ts';
import { isDataPlaneMessage } from '../../../standalone/message-shape.ts';
import { ATTEMPT } from '../../support/connection-facts.ts';

const place = { endpoint: 'office', targetNetwork: 'net-a' };
const outcome = {
  status: 'failed',
  establishedMs: null,
  endedMs: 1_767_225_600_000,
  endReason: 'bad-password',
} as const;
const connection = connectionFrom(place, ATTEMPT, outcome, undefined);

const HONEST: Readonly<{ [K in DataPlaneMessage['kind']]: Extract<DataPlaneMessage, { kind: K }> }> = {
  ready: { kind: 'ready' },
  failed: { kind: 'failed', reason: 'no addon' },
  applied: { kind: 'applied', version: 1, digest: 'sha256:00' },
  rejected: { kind: 'rejected', version: 1, digest: 'sha256:00', reason: 'bad key' },
  connections: { kind: 'connections', requestId: 1, connections: [connection] },
  terminated: { kind: 'terminated', requestId: 1, found: true },
  leases: { kind: 'leases', leases: [{ identity: 'alice', address: '10.0.0.2', freedAt: null }] },
  codesUsed: { kind: 'codesUsed', sequence: 1, totpSteps: [{ user: 'alice', step: 1 }] },
};

test('every message has its shape, and none without one of its fields or with another type', () => {
  for (const message of Object.values(HONEST)) {
    assert.ok(isDataPlaneMessage(JSON.parse(JSON.stringify(message))), message.kind);
    for (const field of Object.keys(message)) {
      assert.equal(isDataPlaneMessage({ ...message, [field]: undefined }), false, `${message.kind} without ${field}`);
      assert.equal(isDataPlaneMessage({ ...message, [field]: {} }), false, `${message.kind}: ${field}`);
    }
  }
});

test('connections are read field by field', () => {
  const withOne = (one: unknown) => ({ ...HONEST.connections, connections: [connection, one] });
  for (const one of [null, [], 'x', undefined]) assert.equal(isDataPlaneMessage(withOne(one)), false);
  for (const field of Object.keys(connection)) {
    for (const wrong of [{}, [null], undefined])
      assert.equal(isDataPlaneMessage(withOne({ ...connection, [field]: wrong })), false, field);
  }
});

test('what is no message at all has no shape', () => {
  for (const value of [null, 7, 'ready', [], {}, { kind: 'toString' }, { kind: '__proto__' }, { kind: ['ready'] }])
    assert.equal(isDataPlaneMessage(value), false, JSON.stringify(value));
});
