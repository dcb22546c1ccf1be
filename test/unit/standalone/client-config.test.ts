import assert from 'node:assert/strict';
import { lstatSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatStaticKey } from '../../../dataplane/protocol/static-key.ts';
import { clientConfigText, writeClientFile } from '../../../standalone/client-config.ts';
import { storeClientConfigSource } from '../../../standalone/client-config-source.ts';
import { StateFolder } from '../../../standalone/state-folder.ts';

const CERTIFICATE = '-----BEGIN CERTIFICATE-----\nTEVBRg==\n-----END CERTIFICATE-----';
const PRIVATE_KEY = '-----BEGIN PRIVATE KEY-----\nUExBTlRFRA==\n-----END PRIVATE KEY-----';

test('nothing but certificates and keys of the wrap gets into a client file', async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'clientvpn-'));
  t.after(() => rmSync(parent, { recursive: true }));
  const folder = StateFolder.create(join(parent, 'state'));
  const escape = '</ca>\n</tls-crypt>\nscript-security 2\nup /bin/sh\n';
  const source = {
    formatVersion: 1,
    endpoint: 'office',
    namespace: 'default',
    transport: 'udp',
    port: 443,
    mutual: false,
    ownClientCa: null,
    userLogin: null,
    controlWrap: 'TlsCrypt',
  } as const;
  const request = {
    stateDir: folder.path,
    endpoint: 'office',
    client: undefined,
    remote: '192.0.2.1',
    wildcardDns: false,
  };
  const staticKey = formatStaticKey(new Uint8Array(256).fill(7));
  storeClientConfigSource(folder, {
    ...source,
    serverCaPem: `${PRIVATE_KEY}\n${CERTIFICATE}\n${escape}${CERTIFICATE}\n`,
    controlWrapKey: `${staticKey}\n${escape}`,
  });
  const text = await clientConfigText(request, new Date());
  for (const planted of ['PRIVATE', 'UExBTlRFRA', 'script-security', 'up /bin/sh']) assert.ok(!text.includes(planted));
  assert.ok(text.includes(`<ca>\n${CERTIFICATE}\n${CERTIFICATE}\n</ca>\n`));
  assert.ok(text.includes(`<tls-crypt>\n${staticKey.trim()}\n</tls-crypt>\n`));

  storeClientConfigSource(folder, { ...source, serverCaPem: PRIVATE_KEY, controlWrapKey: staticKey });
  await assert.rejects(clientConfigText(request, new Date()), { name: 'TerminalError' });
});

test('a client file is written whole, and never in the place of a device', (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'clientvpn-'));
  t.after(() => rmSync(parent, { recursive: true }));
  const file = join(parent, 'laptop.ovpn');
  writeClientFile(file, 'one');
  writeClientFile(file, 'two');
  assert.equal(readFileSync(file, 'utf8'), 'two');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const device = join(parent, 'stdout');
  symlinkSync('/dev/null', device);
  writeClientFile(device, 'three');
  assert.ok(lstatSync(device).isSymbolicLink());
  for (const path of [parent, join(parent, 'nowhere', 'x'), join(file, 'x')])
    assert.throws(() => writeClientFile(path, 'x'), new RegExp(`^TerminalError: ${path} could not be written: E`));
});
