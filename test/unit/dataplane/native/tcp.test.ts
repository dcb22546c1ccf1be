import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { loadAddon } from '../../../../dataplane/io/load-addon.ts';

const addon = loadAddon();

test('a TCP stream: accept, address, bytes both ways, room to write, end of stream', async () => {
  const listener = addon.tcpListen({ address: '::', port: 0 });
  const second = addon.tcpListen({ address: '::', port: listener.port });
  addon.close(second.fd);
  const poll = addon.pollCreate();
  const tags = new Int32Array(8);
  const events = new Uint8Array(8);
  addon.pollAdd(poll, listener.fd, -7, false);
  assert.equal(addon.pollWait(poll, 0, tags, events), 0);
  const remote = new Uint8Array(64);
  assert.ok(addon.tcpAccept(listener.fd, remote) < 0);

  const client = connect(listener.port, '127.0.0.1');
  await once(client, 'connect');
  assert.equal(addon.pollWait(poll, 1000, tags, events), 1);
  assert.deepEqual([tags[0], events[0]], [-7, 1]);
  const server = addon.tcpAccept(listener.fd, remote);
  assert.deepEqual(addon.formatAddress(remote), { family: 4, address: '127.0.0.1', port: client.localPort });
  addon.pollAdd(poll, server, 5, true);
  assert.equal(addon.pollWait(poll, 0, tags, events), 1);
  assert.deepEqual([tags[0], events[0]], [5, 2]);
  addon.pollModify(poll, server, 6, false);

  assert.equal(addon.tcpSend(server, Uint8Array.from(Buffer.from('..hello')), 2, 5), 5);
  const [answer] = (await once(client, 'data')) as [Buffer];
  assert.equal(answer.toString(), 'hello');
  const into = new Uint8Array(8);
  assert.ok(addon.tcpReceive(server, into, 0, 8) < 0, 'nothing yet');
  await new Promise((resolve) => client.write('abc', resolve));
  assert.equal(addon.pollWait(poll, 1000, tags, events), 1);
  assert.deepEqual([tags[0], events[0]], [6, 1]);
  assert.equal(addon.tcpReceive(server, into, 4, 4), 3);
  assert.deepEqual([...into], [0, 0, 0, 0, 97, 98, 99, 0]);
  assert.throws(() => addon.tcpReceive(server, into, 4, 5), RangeError);

  await new Promise<void>((resolve) => client.end(resolve));
  assert.equal(addon.pollWait(poll, 1000, tags, events), 1);
  assert.equal(events[0] & 4, 4);
  assert.equal(addon.tcpReceive(server, into, 0, 8), 0);
  addon.pollRemove(poll, server);
  for (const fd of [server, listener.fd, poll]) addon.close(fd);
  await once(client, 'close');
});

test('an event is readable from its signal until it is cleared', () => {
  const poll = addon.pollCreate();
  const event = addon.eventCreate();
  const tags = new Int32Array(1);
  const events = new Uint8Array(1);
  addon.pollAdd(poll, event, 1, false);
  assert.equal(addon.pollWait(poll, 0, tags, events), 0);
  addon.eventSignal(event);
  addon.eventSignal(event);
  assert.equal(addon.pollWait(poll, 1000, tags, events), 1);
  addon.eventClear(event);
  addon.eventClear(event);
  assert.equal(addon.pollWait(poll, 0, tags, events), 0);
  for (const fd of [event, poll]) addon.close(fd);
});
