import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ConnectionLog } from '../../../../dataplane/io/connection-log.ts';
import type { ConnectionFacts } from '../../../../dataplane/sessions/engine-io.ts';

const KEYS = [
  'connection-log-type',
  'connection-attempt-status',
  'connection-reset-status',
  'connection-attempt-failure-reason',
  'connection-id',
  'client-vpn-endpoint-id',
  'transport-protocol',
  'connection-start-time',
  'connection-last-update-time',
  'client-ip',
  'common-name',
  'device-type',
  'device-ip',
  'port',
  'ingress-bytes',
  'egress-bytes',
  'ingress-packets',
  'egress-packets',
  'connection-end-time',
  'posture-compliance-statuses',
  'username',
  'connection-duration-seconds',
];

const FACTS: ConnectionFacts = {
  connectionId: 'cvpn-connection-abc123abc123abc12',
  peerId: 0,
  generation: 1,
  username: 'joe',
  commonName: 'client1',
  groups: [],
  clientIp: '10.0.1.2',
  remote: '98.247.202.82:50096',
  transport: 'udp',
  cipher: 'AES-256-GCM',
  client: { version: '2.6.14', platform: 'mac', ui: '' },
};
const FAILED: ConnectionFacts = {
  ...FACTS,
  clientIp: null,
  commonName: '',
  username: 'x"\n',
  remote: '[2001:db8::1]:7',
  client: { version: '', platform: '', ui: '' },
};
const START = Date.UTC(2020, 2, 26, 20, 37, 15, 900);

function logWith(config: { enabled: boolean; userLogin: boolean; group?: string; stream?: string }) {
  const lines: string[] = [];
  let now = START;
  const log = new ConnectionLog({ write: (line) => lines.push(line), now: () => now });
  log.configure({ group: null, stream: null, ...config, endpointId: 'cvpn-endpoint-aaa111bbb222ccc33' });
  return {
    log,
    lines,
    at: (ms: number) => (now = ms),
    entries: () => lines.map((line) => JSON.parse(line) as Record<string, string>),
  };
}

suite('Connection log', () => {
  test("[C113] a success has exactly the guide's keys and forms", () => {
    const { log, lines, entries } = logWith({ enabled: true, userLogin: true });
    log.onEvent({ kind: 'connected', connection: FACTS });
    const [entry] = entries();
    assert.deepEqual(Object.keys(entry), KEYS);
    assert.ok(Object.values(entry).every((value) => typeof value === 'string'));
    assert.deepEqual(entry, {
      'connection-log-type': 'connection-attempt',
      'connection-attempt-status': 'successful',
      'connection-reset-status': 'NA',
      'connection-attempt-failure-reason': 'NA',
      'connection-id': 'cvpn-connection-abc123abc123abc12',
      'client-vpn-endpoint-id': 'cvpn-endpoint-aaa111bbb222ccc33',
      'transport-protocol': 'udp',
      'connection-start-time': '2020-03-26 20:37:15',
      'connection-last-update-time': '2020-03-26 20:37:15',
      'client-ip': '10.0.1.2',
      'common-name': 'client1',
      'device-type': 'mac',
      'device-ip': '98.247.202.82',
      port: '50096',
      'ingress-bytes': '0',
      'egress-bytes': '0',
      'ingress-packets': '0',
      'egress-packets': '0',
      'connection-end-time': 'NA',
      'posture-compliance-statuses': 'NA',
      username: 'joe',
      'connection-duration-seconds': 'NA',
    });
    assert.match(lines[0], /^[^\n]+\n$/);
  });

  test('[C113] a group, and a stream that is made up where none is named, stand behind the guide’s keys', () => {
    const on = { enabled: true, userLogin: true };
    for (const [names, expected] of [
      [{ group: 'vpn' }, ['vpn', 'cvpn-endpoint-aaa111bbb222ccc33/2020-03-26']],
      [{ group: 'vpn', stream: 'office' }, ['vpn', 'office']],
      [{ stream: 'office' }, ['NA', 'office']],
    ] as const) {
      const { log, entries } = logWith({ ...on, ...names });
      log.onEvent({ kind: 'connected', connection: FACTS });
      const [entry] = entries();
      assert.deepEqual(Object.keys(entry), [...KEYS, 'log-group', 'log-stream']);
      assert.deepEqual([entry['log-group'], entry['log-stream']], expected);
    }
  });

  test('[C113] a failure names its reason, stays on its line and has NA where there is nothing', () => {
    const { log, lines, entries } = logWith({ enabled: true, userLogin: true });
    log.onEvent({ kind: 'connectionAttemptFailed', connection: FAILED, reason: 'bad-password', isTemporary: false });
    const [entry] = entries();
    assert.equal(lines[0].indexOf('\n'), lines[0].length - 1);
    assert.equal(entry['connection-attempt-status'], 'failed');
    assert.equal(entry['connection-attempt-failure-reason'], 'bad-password');
    assert.equal(entry['device-ip'], '2001:db8::1');
    assert.equal(entry['port'], '7');
    for (const key of ['client-ip', 'common-name', 'device-type', 'connection-end-time'])
      assert.equal(entry[key], 'NA');
  });

  test('an attempt that waits for its user says so', () => {
    const { log, entries } = logWith({ enabled: true, userLogin: true });
    log.onEvent({ kind: 'connectionAttemptChallenged', connection: FAILED });
    const [entry] = entries();
    assert.deepEqual(Object.keys(entry), KEYS);
    assert.equal(entry['connection-attempt-status'], 'waiting-for-assertion');
    assert.equal(entry['connection-attempt-failure-reason'], 'NA');
  });

  test('[C106] an end has the same id, its time, duration and traffic', () => {
    const { log, entries, at } = logWith({ enabled: true, userLogin: false });
    log.onEvent({ kind: 'connected', connection: FACTS });
    const endedMs = START + 3_661_200;
    at(endedMs);
    const traffic = { ingressBytes: 5, ingressPackets: 1, egressBytes: 2 ** 40, egressPackets: 2, lastReceived: 0 };
    log.onEvent({
      kind: 'disconnected',
      connection: FACTS,
      reason: 'terminated',
      establishedMs: START,
      endedMs,
      traffic,
    });
    const [, entry] = entries();
    assert.deepEqual(Object.keys(entry), KEYS);
    assert.equal(entry['connection-log-type'], 'connection-reset');
    assert.equal(entry['connection-attempt-status'], 'NA');
    assert.equal(entry['connection-id'], FACTS.connectionId);
    assert.equal(entry['connection-start-time'], '2020-03-26 20:37:15');
    assert.equal(entry['connection-end-time'], '2020-03-26 21:38:17');
    assert.equal(entry['connection-duration-seconds'], '3662');
    assert.equal(entry['egress-bytes'], '1099511627776');
    assert.equal(entry['username'], 'NA');
  });

  test('[C113] nothing is written while it is off', () => {
    const { log, lines, entries } = logWith({ enabled: false, userLogin: true });
    log.onEvent({ kind: 'connected', connection: FACTS });
    assert.equal(lines.length, 0);
    log.configure({ enabled: true, userLogin: true, endpointId: 'e', group: null, stream: null });
    const times = { establishedMs: START, endedMs: START + 1000 };
    log.onEvent({ kind: 'disconnected', connection: FACTS, reason: 'client-exit', ...times, traffic: null });
    assert.equal(entries()[0]['connection-duration-seconds'], '1');
  });

  test('[C88] a refused certificate writes no line', () => {
    const { log, lines } = logWith({ enabled: true, userLogin: true });
    log.onEvent({ kind: 'certificateRefused', remote: '192.0.2.1:1', reason: 'certificate-expired' });
    log.onEvent({ kind: 'handshakeFailed', remote: '192.0.2.1:1', reason: 'hand-window-over' });
    assert.equal(lines.length, 0);
  });
});
