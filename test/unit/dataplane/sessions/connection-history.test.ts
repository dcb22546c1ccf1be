import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectionFrom, ConnectionHistory } from '../../../../dataplane/sessions/connection-history.ts';
import type { ConnectionFacts } from '../../../../dataplane/sessions/engine-io.ts';

function facts(connectionId: string): ConnectionFacts {
  return {
    connectionId,
    peerId: 1,
    generation: 1,
    username: 'alice',
    commonName: 'alice',
    groups: ['eng'],
    clientIp: '10.100.0.2',
    remote: '192.0.2.1:5000',
    transport: 'udp',
    cipher: 'AES-256-GCM',
    client: { version: '', platform: '', ui: '' },
  };
}

function ended(connectionId: string) {
  const outcome = { status: 'terminated', establishedMs: 0, endedMs: 1000, endReason: 'client-exit' } as const;
  return connectionFrom({ endpoint: 'office', targetNetwork: 'net-a' }, facts(connectionId), outcome, {
    ingressBytes: 1,
    ingressPackets: 2,
    egressBytes: 3,
    egressPackets: 4,
    lastReceived: 5,
  });
}

const LIMITS = { endedConnections: 3, failedConnections: 2, historyMs: 60_000 };

test('[C105] lists what ended within the time, with its counters and times', () => {
  const history = new ConnectionHistory(LIMITS);
  history.addEnded(ended('a'), 0);
  const [connection] = history.list(59_999);
  assert.deepEqual(
    [connection.ingressBytes, connection.egressPackets, connection.endTime, connection.endReason],
    [1, 4, '1970-01-01T00:00:01.000Z', 'client-exit'],
  );
  assert.deepEqual(history.list(60_000), []);
});

test('is bounded: the oldest makes room', () => {
  const history = new ConnectionHistory(LIMITS);
  for (const id of ['a', 'b', 'c', 'd']) history.addEnded(ended(id), 0);
  for (const id of ['x', 'y', 'z']) history.addFailed(ended(id), 0);
  assert.deepEqual(
    history.list(1).map(({ connectionId }) => connectionId),
    ['b', 'c', 'd', 'y', 'z'],
  );
  assert.deepEqual(history.sizes, { ended: 3, failed: 2 });
});
