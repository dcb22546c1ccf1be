import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byteText, connectionsTable } from '../../../cli/connections-table.ts';
import { parseHostPort } from '../../../cli/options.ts';
import { statusTable } from '../../../cli/status-table.ts';
import { textTable } from '../../../cli/text-table.ts';
import type { GatewayStatus } from '../../../standalone/gateway-status.ts';

test('columns are aligned and control characters of names are gone', () => {
  const rows = [
    ['NAME', 'REST'],
    ['long name', 'x'],
    ['\u001b[31mred', 'y\nz'],
  ];
  assert.equal(textTable(rows), 'NAME       REST\nlong name  x\n [31mred   y z\n');
});

test('bytes have three digits and a unit', () => {
  assert.deepEqual([0, 999, 1_000, 1_449, 23_000_000, 5e12].map(byteText), [
    '0 B',
    '999 B',
    '1.0 kB',
    '1.4 kB',
    '23 MB',
    '5.0 TB',
  ]);
});

test('a connection is one line', () => {
  const table = connectionsTable([
    {
      connectionId: 'cvpn-connection-1',
      endpoint: 'e',
      targetNetwork: 't',
      status: 'terminated',
      username: 'alice',
      commonName: '',
      groups: [],
      clientIp: '10.77.0.2',
      remote: '192.0.2.1:4000',
      transport: 'udp',
      cipher: 'AES-256-GCM',
      ingressBytes: 1,
      egressBytes: 2_000,
      ingressPackets: 1,
      egressPackets: 1,
      establishedTime: '2026-11-23T00:00:00Z',
      endTime: '2026-11-23T00:01:00Z',
      endReason: 'terminated',
    },
  ]);
  const [, line = ''] = table.split('\n');
  assert.match(
    line,
    /^cvpn-connection-1 +terminated +alice +- +10\.77\.0\.2 +192\.0\.2\.1:4000 udp +AES-256-GCM +1 B +2\.0 kB/,
  );
});

const STATUS: GatewayStatus = {
  endpoint: 'e',
  namespace: 'default',
  targetNetwork: 't',
  transport: 'udp',
  port: 443,
  state: 'Ready',
  snapshot: { version: 3, digest: 'sha256:ab' },
  connections: { active: 2, capacity: 1021 },
  objects: [
    {
      kind: 'Route',
      namespace: 'default',
      name: 'r',
      conditions: [{ type: 'Ready', status: 'True', reason: 'Ready', message: '', lastTransitionTime: '' }],
    },
  ],
  refused: null,
  warnings: [],
};

test('a refused edit stands below the state that holds', () => {
  const findings = ['a.yaml:1: Route/r: -: no\u0007'];
  const table = statusTable({ ...STATUS, refused: { time: '2026-11-23T00:00:00Z', findings } });
  assert.match(table, /Snapshot: +version 3 \(sha256:ab\)/);
  assert.match(table, /Route\/r +Ready +True +Ready/);
  assert.match(table, /Edit refused at .*\n  a\.yaml:1: Route\/r: -: no \n$/);
});

test('the status says how many are connected, and how many may be', () => {
  assert.match(statusTable(STATUS), /^Connections: +2 of at most 1021$/m);
  const restarting = { ...STATUS, state: 'Restarting', connections: { active: null, capacity: 1021 } } as const;
  assert.match(statusTable(restarting), /^Connections: +unknown of at most 1021$/m);
});

test('HOST:PORT takes names, IPv4 and bracketed IPv6', () => {
  assert.deepEqual(parseHostPort('127.0.0.1:9090'), { host: '127.0.0.1', port: 9090 });
  assert.deepEqual(parseHostPort('[::1]:0'), { host: '::1', port: 0 });
  for (const bad of ['9090', ':1', '::1:9090', 'a:70000', 'a:b']) assert.throws(() => parseHostPort(bad), bad);
});
