import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Remote } from '../../../../dataplane/sessions/engine-io.ts';
import { TcpOpenings } from '../../../../dataplane/sessions/tcp-openings.ts';

let connections = 0;
const from = (address: string): Remote => {
  connections += 1;
  return { kind: 'tcp', key: `tcp/${connections}`, address, port: 5000, connection: connections };
};

test('a subscriber has one share, however many addresses of its /64 it uses', () => {
  const openings = new TcpOpenings(3);
  const inFirst = (host: number): Remote => from(`2001:db8:0:1::${host}`);
  const begun = [1, 2, 3].map((host) => openings.begin(inFirst(host)));
  assert.ok(openings.isShareTaken(inFirst(4)));
  assert.ok(!openings.isShareTaken(from('2001:db8:0:2::1')));
  for (const { remote } of begun) openings.finish(remote.key);
  assert.ok(!openings.isShareTaken(inFirst(9)));
});

test('a crowd of one network gives way before an older one that is alone, each with an address of its own', () => {
  const openings = new TcpOpenings(32);
  openings.begin(from('198.51.100.1'));
  for (let host = 1; host <= 5; host += 1) openings.begin(from(`203.0.113.${host}`));
  assert.equal(openings.toEvict(() => false)?.remote.address, '203.0.113.1');
});
