import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempDisposableSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { askGateway } from '../../../standalone/command-client.ts';
import { CommandServer } from '../../../standalone/command-server.ts';
import { StateFolder } from '../../../standalone/state-folder.ts';

function folderOf(t: TestContext, ...names: readonly string[]): StateFolder {
  const base = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-command-'));
  t.after(() => base.remove());
  return StateFolder.create(join(base.path, ...names));
}

async function serving(t: TestContext, folder: StateFolder): Promise<void> {
  const server = await CommandServer.listen(folder, async (request) => {
    if (request.command === 'connections') return { kind: 'connections', connections: [] };
    if (request.command === 'terminate') return { kind: 'terminated', found: request.connectionId === 'known' };
    throw new RangeError('no status today');
  });
  t.after(() => server.close());
}

test('questions are answered, refusals come back as errors', async (t) => {
  const folder = folderOf(t);
  await serving(t, folder);
  assert.deepEqual(await askGateway(folder.path, { command: 'connections' }), { kind: 'connections', connections: [] });
  const found = { kind: 'terminated', found: true };
  assert.deepEqual(await askGateway(folder.path, { command: 'terminate', connectionId: 'known' }), found);
  await assert.rejects(askGateway(folder.path, { command: 'status' }), /no status today/);
  assert.equal(statSync(folder.pathOf('command.sock')).mode & 0o777, 0o600);
});

test('a folder with a path longer than the kernel takes for sockets works', async (t) => {
  const folder = folderOf(t, 'x'.repeat(120), 'y'.repeat(120));
  await serving(t, folder);
  assert.equal((await askGateway(folder.path, { command: 'connections' })).kind, 'connections');
});

test('without a gateway the answer says so, also when a killed one left its socket', async (t) => {
  const folder = folderOf(t);
  await assert.rejects(askGateway(folder.path, { command: 'status' }), /No gateway is running/);
  writeFileSync(folder.pathOf('command.sock'), '');
  await assert.rejects(askGateway(folder.path, { command: 'status' }), /No gateway is running/);
  await serving(t, folder);
  assert.equal((await askGateway(folder.path, { command: 'connections' })).kind, 'connections');
});

test('nonsense and floods on the socket end that connection alone', async (t) => {
  const folder = folderOf(t);
  await serving(t, folder);
  for (const nonsense of ['{"command":"reboot"}\n', 'null\n']) {
    const socket = connect(folder.pathOf('command.sock'));
    socket.write(nonsense);
    assert.match(await text(socket), /does not know/);
  }
  for (const nonsense of ['{not json\n', 'x'.repeat(10_000)]) {
    const socket = connect(folder.pathOf('command.sock'));
    socket.on('error', () => undefined);
    socket.write(nonsense);
    socket.resume();
    await once(socket, 'close');
  }
  assert.equal((await askGateway(folder.path, { command: 'connections' })).kind, 'connections');
  mkdirSync(folder.pathOf('unrelated'));
});
