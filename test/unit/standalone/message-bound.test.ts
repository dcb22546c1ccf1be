import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Connection } from '../../../api/connection.ts';
import type { DataPlaneConfig, LocalUser } from '../../../api/data-plane-config.ts';
import type { DataPlaneMessage } from '../../../dataplane/process-messages.ts';
import { longestMessages, withMemory } from '../../../standalone/message-bound.ts';
import { dataPlaneConfig } from '../../support/data-plane-configs.ts';

const MIB = 1024 * 1024;
const HISTORY = 11_000;

/** A network with so many addresses and connections. */
function configOf(clientCIDR: string, maxConnections: number, users: readonly LocalUser[] = []): DataPlaneConfig {
  return dataPlaneConfig({ snapshot: { clientCIDR, maxConnections }, users });
}

function lengthOf(message: DataPlaneMessage): number {
  return Buffer.byteLength(JSON.stringify(message));
}

function connection(changes: Partial<Connection> = {}): Connection {
  return {
    connectionId: 'cvpn-connection-0123456789abcdef0',
    endpoint: 'office',
    targetNetwork: 'net-a',
    status: 'terminated',
    username: 'u'.repeat(255),
    commonName: '日'.repeat(64),
    groups: [],
    clientIp: '100.100.100.100',
    remote: '[2001:0db8:1111:2222:3333:4444:5555:6666]:65535',
    transport: 'udp',
    cipher: 'CHACHA20-POLY1305',
    ingressBytes: Number.MAX_SAFE_INTEGER,
    egressBytes: Number.MAX_SAFE_INTEGER,
    ingressPackets: Number.MAX_SAFE_INTEGER,
    egressPackets: Number.MAX_SAFE_INTEGER,
    establishedTime: '2026-01-01T00:00:00.000Z',
    endTime: '2026-01-01T00:00:00.000Z',
    endReason: 'certificate-common-name-invalid',
    ...changes,
  };
}

function connectionsOf(count: number, one: Connection): DataPlaneMessage {
  return { kind: 'connections', requestId: 1, connections: Array.from({ length: count }, () => one) };
}

test('every address leased to somebody with a long name fits', () => {
  const identity = JSON.stringify(['u'.repeat(255), 'c'.repeat(64)]);
  const lease = { identity, address: '100.100.100.100', freedAt: 1_767_225_600_000 };
  for (const [cidr, connections] of [
    ['10.0.0.0/22', 1_021],
    ['10.0.0.0/16', 20_000],
  ] as const) {
    const leases = Array.from({ length: 2 ** (32 - Number(cidr.slice(-2))) }, () => lease);
    assert.ok(lengthOf({ kind: 'leases', leases }) <= longestMessages(configOf(cidr, connections)).leases);
  }
});

test('all connections that may be, with a whole history of long names and hostile attempts, fit', () => {
  const groups = Array.from({ length: 200 }, (_, index) => `group-${index}-é`);
  const users = [{ name: 'alice', passwordHash: '', groups }];
  for (const one of [connection(), connection({ groups })]) {
    const config = configOf('10.0.0.0/22', 1_021, one.groups.length > 0 ? users : []);
    assert.ok(lengthOf(connectionsOf(1_021 + HISTORY, one)) <= longestMessages(config).connections);
  }
  const hostile = connectionsOf(
    1_000,
    connection({ status: 'failed', username: '\u0001'.repeat(256), commonName: '' }),
  );
  const rest = connectionsOf(1_021 + HISTORY - 1_000, connection());
  assert.ok(lengthOf(hostile) + lengthOf(rest) <= longestMessages(configOf('10.0.0.0/22', 1_021)).connections);
});

test('the codes of all users fit', () => {
  const users = Array.from({ length: 50_000 }, () => ({ name: 'u'.repeat(255), passwordHash: '', groups: [] }));
  const totpSteps = users.map(({ name }) => ({ user: name, step: 60_000_000 }));
  const longest = longestMessages(configOf('10.0.0.0/22', 1_021, users)).codesUsed;
  assert.ok(lengthOf({ kind: 'codesUsed', sequence: 1, totpSteps }) <= longest);
});

test('bounds are in proportion to network and users, each kind by itself, and never more than the parent can hold', () => {
  const small = longestMessages(configOf('10.0.0.0/22', 1_021));
  assert.ok(small.connections < 17 * MIB && small.leases < 0.6 * MIB);
  assert.deepEqual([small.codesUsed, small.ready, small.failed], [65_536, 65_536, 65_536]);
  assert.ok(longestMessages(configOf('10.0.0.0/16', 20_000)).connections < 40 * MIB);
  const groups = Array.from({ length: 300 }, () => 'g'.repeat(255));
  const heavy = longestMessages(configOf('10.0.0.0/12', 126_000, [{ name: 'alice', passwordHash: '', groups }]));
  assert.equal(heavy.connections, 256 * MIB);
  assert.ok(heavy.leases < 33 * MIB);
});

test('what one was started with it may tell again', () => {
  const leases = Array.from({ length: 1_024 }, () => ({
    identity: 'x'.repeat(2_048),
    address: '10.0.0.2',
    freedAt: null,
  }));
  const totpSteps = Array.from({ length: 1_000 }, () => ({ user: 'u'.repeat(255), step: 60_000_000 }));
  const longest = withMemory(longestMessages(configOf('10.0.0.0/22', 1_021)), { leases, totpSteps });
  assert.ok(lengthOf({ kind: 'leases', leases }) <= longest.leases);
  assert.ok(lengthOf({ kind: 'codesUsed', sequence: 1, totpSteps }) <= longest.codesUsed);
});
