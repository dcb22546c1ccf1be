import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { AutoPki } from '../../../standalone/auto-pki.ts';
import { StateFolder } from '../../../standalone/state-folder.ts';

test('no name of a Secret leads out of the state folder', async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'clientvpn-'));
  t.after(() => rmSync(parent, { recursive: true }));
  const pki = new AutoPki(StateFolder.create(join(parent, 'state')), () => new Date('2026-01-01T00:00:00Z'));
  for (const name of ['../../../outside', '..', 'a/../../../../outside', '/outside']) {
    await assert.rejects(pki.serverSecret('default', name, 'server'), { name: 'TerminalError' }, name);
    await assert.rejects(pki.clientCaSecret(name, 'clients', 'ca.crt'), { name: 'TerminalError' }, name);
    assert.throws(() => pki.wrapSecret('default', name, 'TlsCrypt'), { name: 'TerminalError' }, name);
  }
  assert.deepEqual(readdirSync(parent), ['state']);
  assert.deepEqual(readdirSync(join(parent, 'state')), []);
  pki.wrapSecret('default', 'a.b-c', 'TlsCrypt');
});

test('a common name is never more than the name of one file', async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'clientvpn-'));
  t.after(() => rmSync(parent, { recursive: true }));
  const folder = StateFolder.create(join(parent, 'state'));
  const pki = new AutoPki(folder, () => new Date('2026-01-01T00:00:00Z'));
  await pki.clientCaSecret('default', 'clients', 'ca.crt');
  for (const name of ['../x', '..', 'a/b', '.hidden', 'x'.repeat(64)])
    await pki.clientCertificate('default', 'clients', name);
  assert.equal(readdirSync(folder.pathOf('pki', 'default', 'clients', 'clients')).length, 5);
  assert.deepEqual(readdirSync(folder.pathOf('pki', 'default', 'clients')).toSorted(), ['ca.pem', 'clients']);
});
