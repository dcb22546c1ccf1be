// What a gateway reads besides packets: manifests, users, snapshots, its own memory, commands, the kernel's replies.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { Readable } from 'node:stream';
import type { EndpointSnapshot } from '../../api/endpoint-snapshot.ts';
import { parseEndpointSnapshot } from '../../api/parse-endpoint-snapshot.ts';
import { snapshotDigest } from '../../api/snapshot-digest.ts';
import { formatAddress } from '../../dataplane/io/socket-address.ts';
import { readJsonLines } from '../../dataplane/io/json-lines.ts';
import { removalScript } from '../../dataplane/net-setup/rule-set.ts';
import {
  decodeAddress,
  decodeLink,
  encodeLinkChange,
  encodeNewAddress,
} from '../../dataplane/net-setup/rtnetlink-messages.ts';
import { concatBytes, utf8Bytes, utf8Text } from '../../dataplane/protocol/bytes.ts';
import { DEFAULT_QUOTAS } from '../../operator/endpoint/checks/quotas.ts';
import { readLocalUsers } from '../../operator/endpoint/checks/local-users.ts';
import { checkManifests, loadValidator } from '../../standalone/check-manifests.ts';
import { isCommandRequest } from '../../standalone/command-protocol.ts';
import { LOCAL_USERS_FORMATS } from '../../standalone/gather-facts.ts';
import { isAlive } from '../../standalone/process-identity.ts';
import { leftRecord } from '../../standalone/run-record.ts';
import { PersistedMemory } from '../../standalone/persisted-memory.ts';
import { StateFolder } from '../../standalone/state-folder.ts';
import { dataPlaneConfig } from '../support/data-plane-configs.ts';
import { fuzzTarget, type FuzzTarget } from '../support/fuzz-targets.ts';
import { endpoint, route, rule, secret, targetNetwork, users, yamlOf } from '../support/manifests.ts';
import { SimulatedWorld } from '../support/simulated-world.ts';
import { ROOT } from '../support/source-tree.ts';

const NOW = Date.UTC(2026, 10, 23);
const folder = mkdtempSync(join(tmpdir(), 'cvt-fuzz-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const CLIENT_CIDR = { address: 0x0a640000, length: 22 };
const state = StateFolder.create(join(folder, 'state'));
const validator = await loadValidator();

const snapshot = dataPlaneConfig().snapshot;
const SNAPSHOT = { ...snapshot, digest: snapshotDigest(snapshot) };
const USERS = readFileText(
  users('staff', [{ name: 'ada', password: 'x', groups: ['eng'], totpSecret: 'JBSWY3DPEHPK3PXP' }])[1],
);
const MEMORY = JSON.stringify({
  formatVersion: 1,
  leases: [{ identity: '["alice","alice"]', address: '10.100.0.2', freedAt: 1_700_000_000_000 }],
  totpSteps: [{ user: 'ada', step: 58_000_000 }],
});

const RECORD = JSON.stringify({
  formatVersion: 1,
  gateway: { pid: 3_999, startTime: '123455' },
  network: {
    bootId: '0a2c5b1e-7f5d-4a51-9d0c-8c2f6f1f2f3a',
    networkNamespace: 'net:[4026531840]',
    tun: 'cvpn-0123abcd',
    table: 'cvpn_0123abcd',
    switched: [{ name: 'wan0', index: 2 }],
  },
  dataPlane: { pid: 4_000, startTime: '123456' },
});

const TARGETS: readonly FuzzTarget[] = [
  {
    name: 'manifests',
    corpus: [
      yamlOf(endpoint(), targetNetwork(), rule('10.0.0.0/8', 'eng'), route('10.2.0.0/16')),
      yamlOf(
        endpoint({ local: 'staff' }),
        ...users('staff', [{ name: 'ada', password: 'x' }]),
        secret('a', { b: 'c' }),
      ),
      ...readdirSync(join(ROOT, 'examples', 'quickstart'))
        .filter((name) => name.endsWith('.yaml'))
        .map((name) => readFileSync(join(ROOT, 'examples', 'quickstart', name), 'utf8')),
    ].map((text) => utf8Bytes(text)),
    mustReach: ['parsed', 'valid', 'compiled'],
    cost: 30,
    feed(input, reached) {
      const files = [{ path: 'fuzz.yaml', text: utf8Text(input) }];
      const { set, findings, compiled } = checkManifests(files, validator, { quotas: DEFAULT_QUOTAS, now: NOW });
      if (set.resources.endpoints.length + set.resources.rules.length > 0) reached('parsed');
      if (findings.every(({ severity }) => severity !== 'error')) reached('valid');
      if (compiled.endpoints.size > 0) reached('compiled');
      for (const { message, field } of findings) assert.ok(message.length < 20_000 && field.length < 20_000);
    },
  },
  {
    name: 'users',
    corpus: [utf8Bytes(USERS)],
    mustReach: ['accepted', 'refused'],
    cost: 3,
    feed(input, reached) {
      const reading = readLocalUsers(utf8Text(input), LOCAL_USERS_FORMATS);
      reached(reading.ok ? 'accepted' : 'refused');
      if (!reading.ok) assert.ok(reading.problems.every((problem) => !problem.includes('$argon2')));
    },
  },
  {
    name: 'snapshot',
    corpus: [utf8Bytes(JSON.stringify(SNAPSHOT))],
    mustReach: ['JSON', 'accepted', 'digest', 'refused'],
    feed(input, reached) {
      const value = jsonOf(input);
      if (value === undefined) return;
      reached('JSON');
      const reading = parseEndpointSnapshot(value);
      reached(reading.ok ? 'accepted' : reading.reason.startsWith('digest') ? 'digest' : 'refused');
      if (reading.ok) assert.equal(contentOf(reading.snapshot), contentOf(SNAPSHOT));
    },
  },
  {
    name: 'command',
    corpus: ['{"command":"status"}', '{"command":"terminate","connectionId":"cvpn-connection-0"}'].map((text) =>
      utf8Bytes(text),
    ),
    mustReach: ['JSON', 'accepted'],
    feed(input, reached) {
      const value = jsonOf(input);
      if (value === undefined) return;
      reached('JSON');
      if (isCommandRequest(value)) reached('accepted');
    },
  },
  {
    name: 'JSON lines',
    corpus: [utf8Bytes('{"command":"status"}\n{"a":[1,2]}\n'), utf8Bytes('null\n')],
    mustReach: ['lines', 'refused'],
    cost: 5,
    feed(input, reached) {
      const stream = new Readable({ read: () => undefined });
      stream.on('error', () => undefined);
      readJsonLines(stream, 200, () => reached('lines'));
      const cut = Math.floor(input.length / 2);
      for (const part of [input.subarray(0, cut), input.subarray(cut)]) {
        if (!stream.destroyed) stream.emit('data', Buffer.from(part));
      }
      if (stream.destroyed) reached('refused');
      stream.destroy();
    },
  },
  {
    name: 'memory of the last run',
    corpus: [utf8Bytes(MEMORY), utf8Bytes('{"leases":[],"totpSteps":[]}')],
    mustReach: ['refused', 'leases', 'started'],
    cost: 15,
    feed(input, reached) {
      for (const file of ['leases.json', 'used-codes.json']) writeFileSync(join(state.path, file), input);
      let trouble = '';
      const { current } = new PersistedMemory(
        state,
        { attempt: assert.fail },
        CLIENT_CIDR,
        (reason) => (trouble = reason),
      );
      if (trouble !== '') reached('refused');
      const world = new SimulatedWorld({ memory: current });
      world.feed({ kind: 'deadline' });
      if (world.engine.leases().length > 0) reached('leases');
      reached('started');
    },
  },
  {
    name: 'record of the last run',
    corpus: [utf8Bytes(RECORD), utf8Bytes('{"formatVersion":1,"gateway":null,"network":null,"dataPlane":null}')],
    mustReach: ['unreadable', 'network', 'process'],
    cost: 15,
    feed(input, reached) {
      writeFileSync(join(state.path, 'run.json'), input);
      const record = leftRecord(state);
      assert.ok(record !== null);
      if (record === 'unreadable') return reached('unreadable');
      const { network, dataPlane } = record;
      if (dataPlane !== null) {
        reached('process');
        isAlive(dataPlane);
        assert.ok(dataPlane.pid > 0);
      }
      if (network === null) return;
      reached('network');
      assert.match(removalScript(network.table), /^add table inet \w+\ndelete table inet \w+\n$/);
      for (const { index } of network.switched) assert.ok(index > 0);
    },
  },
  {
    name: 'replies about links and addresses',
    corpus: [
      concatBytes(encodeLinkChange(3, { mtu: 1500, queueLength: 500, up: true, forwarding: true }), linkName('cvpn-0')),
      encodeNewAddress({ index: 3, address: 0x0a0a0a0a, prefixLength: 24 }),
    ],
    mustReach: ['link', 'address'],
    feed(input, reached) {
      const link = decodeLink(input);
      if (link !== undefined) reached('link');
      const address = decodeAddress(input);
      if (address !== undefined) reached('address');
    },
  },
  {
    name: 'addresses of datagrams',
    corpus: [new Uint8Array(64).fill(4), new Uint8Array(64).fill(6)],
    mustReach: ['4', '6', '0'],
    feed(input, reached) {
      const row = new Uint8Array(64);
      row.set(input.subarray(0, 64));
      reached(String(formatAddress(row).family));
    },
  },
];

for (const target of TARGETS) fuzzTarget(target);

function jsonOf(input: Uint8Array): unknown {
  try {
    return JSON.parse(utf8Text(input));
  } catch {
    return undefined;
  }
}

/** The users file in a Secret of the tests. */
function readFileText(object: object | undefined): string {
  return (object as { stringData: Record<string, string> }).stringData['users.yaml'] ?? '';
}

/** IFLA_IFNAME. */
function linkName(name: string): Uint8Array {
  const value = utf8Bytes(`${name}\0`);
  const attribute = new Uint8Array(4 + Math.ceil(value.length / 4) * 4);
  attribute.set([4 + value.length, 0, 3, 0]);
  attribute.set(value, 4);
  return attribute;
}

/** What the digest covers. */
function contentOf(of: EndpointSnapshot): string {
  return JSON.stringify({ ...of, epoch: 0, version: 0, compiledAt: '' });
}
