import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Connection } from '../../../api/connection.ts';
import { connectionFrom } from '../../../dataplane/sessions/connection-history.ts';
import { TransientError } from '../../../net/errors.ts';
import type { Rollout } from '../../../operator/endpoint/compile-types.ts';
import { StatusReader } from '../../../standalone/status-reader.ts';
import { ATTEMPT } from '../../support/connection-facts.ts';
import { dataPlaneConfig } from '../../support/data-plane-configs.ts';

const rollouts: Rollout[] = [];
const set = {
  config: dataPlaneConfig({ snapshot: { maxConnections: 250 } }),
  warnings: [],
  statuses: (rollout: Rollout) => {
    rollouts.push(rollout);
    return new Map();
  },
};
const { digest } = set.config.snapshot;

function connection(status: Connection['status']): Connection {
  const outcome = { status, establishedMs: null, endedMs: null, endReason: null };
  return connectionFrom({ endpoint: 'office', targetNetwork: 'net-a' }, ATTEMPT, outcome, undefined);
}

test('connections now are counted without those that ended or failed, beside how many there may be', async () => {
  const connections = (['active', 'terminated', 'active', 'failed'] as const).map(connection);
  const supervisor = { enforcedDigest: digest, connections: () => Promise.resolve(connections) };
  const status = await new StatusReader().read(set, supervisor, null);
  assert.deepEqual(status.connections, { active: 2, capacity: 250 });
  assert.equal(rollouts.at(-1)?.get('net-a')?.activeConnections, 2);
});

test('while no data plane answers, nobody claims that nobody is connected', async () => {
  const connections = () => Promise.reject(new TransientError('The data plane is being restarted'));
  const status = await new StatusReader().read(set, { enforcedDigest: null, connections }, null);
  assert.deepEqual([status.state, status.connections], ['Restarting', { active: null, capacity: 250 }]);
  assert.equal(rollouts.at(-1)?.get('net-a')?.activeConnections, 0);
});
