import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

test('a damaged file is refused with what to do about it', async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'clientvpn-'));
  t.after(() => rmSync(parent, { recursive: true }));
  const folder = StateFolder.create(join(parent, 'state'));
  const pki = new AutoPki(folder, () => new Date('2026-01-01T00:00:00Z'));
  const read = () => pki.serverSecret('default', 'server', 'office');
  await read();
  const [authority, server] = ['ca.pem', 'server.pem'].map((name) => folder.pathOf('pki', 'default', 'server', name));
  assert.ok(authority !== undefined && server !== undefined);
  const [ofAuthority, ofServer] = [readFileSync(authority, 'utf8'), readFileSync(server, 'utf8')];
  const damages = [
    '',
    ofServer.slice(0, -60),
    ofServer.replaceAll(/^M.*$/gm, 'AAAA'),
    ofServer.replace(/-----BEGIN PRIVATE[^]*/, /-----BEGIN PRIVATE[^]*/.exec(ofAuthority)?.[0] ?? ''),
  ];
  for (const text of damages) {
    writeFileSync(server, text);
    await assert.rejects(read, {
      name: 'TerminalError',
      message:
        'pki/default/server/server.pem in the state folder does not hold a certificate and its key. ' +
        'Put back a copy of it, or move it away: then another is made',
    });
  }
  rmSync(server);
  await read();
  writeFileSync(authority, ofAuthority.replaceAll(/^M.*$/gm, 'AAAA'));
  await assert.rejects(read, { name: 'TerminalError', message: /move its folder away and hand out new client files$/ });
});
