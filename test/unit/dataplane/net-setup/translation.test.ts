import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { FLOWS_MOST } from '../../../../dataplane/net-setup/rule-set.ts';
import { tcpPacket, TcpFlag, udpPacket } from '../../../support/ip-twin.ts';
import { sourceOf } from '../../../support/inner-packets.ts';
import { skipWithoutNamespaces } from '../../../support/requirements.ts';

const PROGRAM = join(import.meta.dirname, '../../../support/translating-namespace.ts');
const skip = skipWithoutNamespaces();
const CLIENT = '10.77.0.2';
const HOST = '192.0.2.9';

/** What leaves towards the network when a client sends these packets, or `without-tunnel` another network does. */
function translated(
  packets: readonly Uint8Array[],
  ...options: readonly ('without-tunnel' | 'without-tracking')[]
): readonly Uint8Array[] {
  const input = JSON.stringify(packets.map((packet) => Buffer.from(packet).toString('base64')));
  const run = spawnSync('unshare', ['--net', process.execPath, PROGRAM, ...options], {
    input,
    encoding: 'utf8',
    maxBuffer: 1 << 24,
  });
  assert.equal(run.status, 0, run.stderr);
  return (JSON.parse(run.stdout) as readonly string[]).map((text) => Buffer.from(text, 'base64'));
}

test('[C39] a client takes no port that the gateway listens on (port shadow, CVE-2021-3773)', { skip }, () => {
  const ports = [443, 1194, 8443, 30_000];
  const packets = ports.map((port) => udpPacket([CLIENT, port], [HOST, 50_000], Uint8Array.of(1)));
  const seen = translated(packets);
  assert.deepEqual(seen.map(sourceOf), Array<string>(ports.length).fill('192.0.2.1'));
  for (const packet of seen) {
    const port = (packet[20] << 8) | packet[21];
    assert.ok(port >= 32_768 && port < 61_000, `port ${port}`);
  }
});

test('[C39] what connection tracking can’t follow does not leave with a client’s own address', { skip }, () => {
  const fields = {
    source: [CLIENT, 40_000],
    destination: [HOST, 80],
    sequence: 1,
    payload: new Uint8Array(0),
  } as const;
  const impossible = tcpPacket({ ...fields, flags: TcpFlag.Syn | TcpFlag.Fin });
  const valid = udpPacket([CLIENT, 40_000], [HOST, 53], Uint8Array.of(1));
  assert.deepEqual(translated([impossible, valid]).map(sourceOf), ['192.0.2.1']);
  assert.deepEqual(translated([valid], 'without-tracking'), []);
});

test('a client that opens flows without end leaves the others theirs', { skip }, () => {
  const flows = Array.from({ length: FLOWS_MOST + 500 }, (_, at) =>
    udpPacket([CLIENT, 1024 + at], [HOST, 53], Uint8Array.of(1)),
  );
  const other = udpPacket(['10.77.0.3', 1024], [HOST, 53], Uint8Array.of(2));
  const seen = translated([...flows, other]).map((packet) => packet.at(-1));
  assert.equal(seen.length, FLOWS_MOST + 1);
  assert.equal(seen.at(-1), 2);
});

test('while the tunnel is down, nothing that is sent to a client leaves by another way', { skip }, () => {
  const other = '198.51.100.9';
  const toClient = udpPacket([other, 53], [CLIENT, 40_000], Uint8Array.of(1));
  const elsewhere = udpPacket([other, 53], ['203.0.113.1', 40_000], Uint8Array.of(1));
  const seen = translated([toClient, elsewhere], 'without-tunnel');
  assert.deepEqual(
    seen.map((packet) => packet.subarray(16, 20).join('.')),
    ['203.0.113.1'],
  );
});
