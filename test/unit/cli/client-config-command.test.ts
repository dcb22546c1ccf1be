import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempDisposableSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { AutoPki } from '../../../standalone/auto-pki.ts';
import {
  CLIENT_CONFIG_FILE,
  storeClientConfigSource,
  type ClientConfigSource,
} from '../../../standalone/client-config-source.ts';
import { StateFolder } from '../../../standalone/state-folder.ts';
import { skipWithoutNamespaces } from '../../support/requirements.ts';
import { ROOT } from '../../support/source-tree.ts';

const CERTIFICATE = '-----BEGIN CERTIFICATE-----\nTEVBRg==\n-----END CERTIFICATE-----';
const SOURCE: ClientConfigSource = {
  formatVersion: 1,
  endpoint: 'office',
  namespace: 'default',
  transport: 'udp',
  port: 443,
  serverCaPem: CERTIFICATE,
  mutual: false,
  ownClientCa: null,
  userLogin: { mfaPrompt: null },
  controlWrap: 'None',
  controlWrapKey: null,
};

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `client-config` on a state folder that a gateway has left. */
async function exporter(
  t: TestContext,
  change: Partial<ClientConfigSource> = {},
): Promise<(...words: readonly string[]) => Result> {
  const base = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-export-'));
  t.after(() => base.remove());
  const folder = StateFolder.create(join(base.path, 'state'));
  storeClientConfigSource(folder, { ...SOURCE, ...change });
  if (typeof change.ownClientCa === 'string')
    await new AutoPki(folder, () => new Date()).clientCaSecret('default', change.ownClientCa, 'ca.crt');
  const command = [join(ROOT, 'cli', 'main.ts'), 'client-config', '--state-dir', folder.path];
  return (...words) => spawnSync(process.execPath, [...command, ...words], { encoding: 'utf8' });
}

const remotesOf = ({ stdout }: Result): readonly string[] =>
  stdout.split('\n').filter((line) => line.startsWith('remote'));

test('a name needs no more than its own DNS record, unless --wildcard-dns says that there is more', async (t) => {
  const run = await exporter(t);
  const name = ['--endpoint', 'office', '--remote', 'vpn.example.com'];
  const plain = run(...name);
  assert.deepEqual([plain.status, plain.stderr], [0, '']);
  assert.deepEqual(remotesOf(plain), ['remote vpn.example.com 443', 'remote-cert-tls server']);
  assert.doesNotMatch(plain.stdout, /\*\./);
  const wildcard = run(...name, '--wildcard-dns');
  assert.deepEqual(remotesOf(wildcard), [
    'remote vpn.example.com 443',
    'remote-random-hostname',
    'remote-cert-tls server',
  ]);
  const address = run('--endpoint', 'office', '--remote', '192.0.2.1', '--wildcard-dns');
  assert.deepEqual([address.status, address.stdout], [2, '']);
  assert.match(address.stderr, /There are no names below 192\.0\.2\.1: --wildcard-dns goes with a name/);
});

test('--remote is a host and no more: the port is that of the endpoint', async (t) => {
  const run = await exporter(t);
  for (const remote of ['vpn.example.com:8443', '192.0.2.1:443', '[2001:db8::1]:443', ':::', 'a:b']) {
    const { status, stdout, stderr } = run('--endpoint', 'office', '--remote', remote);
    assert.deepEqual([status, stdout], [2, ''], remote);
    assert.match(stderr, /is no host name or address\. The port is that of the endpoint: give the host alone\n$/);
  }
  assert.match(run('--endpoint', 'office', '--remote', '[2001:db8::1]').stderr, /Leave the brackets out/);
  const ipv6 = run('--endpoint', 'office', '--remote', '2001:db8::1');
  assert.equal(remotesOf(ipv6)[0], 'remote 2001:db8::1 443');
});

test('a file without a client certificate is written, and says on standard error what it lacks', async (t) => {
  const arguments_ = ['--endpoint', 'office', '--remote', '192.0.2.1'];
  const lacks = /^The file lacks a client certificate and its key, and connects nobody without: /;
  const own = await exporter(t, { mutual: true, ownClientCa: 'clients' });
  for (const [run, how] of [
    [own, /--client NAME makes them/],
    [await exporter(t, { mutual: true }), /put those that the owner of the client CA issues between <cert>/],
  ] as const) {
    const { status, stdout, stderr } = run(...arguments_);
    assert.equal(status, 0);
    assert.match(stdout, /<cert>\nContents of the client certificate/);
    assert.match(stderr, lacks);
    assert.match(stderr, how);
  }
  const toFile = own(...arguments_, '--output', '/dev/null');
  assert.deepEqual([toFile.status, toFile.stdout], [0, '']);
  assert.match(toFile.stderr, lacks);
  assert.equal(own(...arguments_, '--client', 'laptop').stderr, '');
  assert.equal((await exporter(t))(...arguments_).stderr, '');
});

test('--endpoint may be left out, and takes NAME as well as NAMESPACE/NAME', async (t) => {
  const run = await exporter(t, { namespace: 'vpn' });
  const remote = ['--remote', '192.0.2.1'];
  const whole = run('--endpoint', 'office', ...remote);
  assert.equal(whole.status, 0);
  assert.equal(run(...remote).stdout, whole.stdout);
  assert.equal(run('--endpoint', 'vpn/office', ...remote).stdout, whole.stdout);
  for (const [name, served] of [
    ['other', 'office'],
    ['default/office', 'vpn/office'],
    ['vpn/office/x', 'vpn/office'],
  ]) {
    const { status, stderr } = run('--endpoint', name ?? '', ...remote);
    assert.equal(status, 2);
    assert.match(stderr, new RegExp(`There is no endpoint ${name} on .*; the gateway serves ${served}\n$`));
  }
  const help = run('--help').stdout.replaceAll(/\s+/g, ' ');
  assert.match(help, /as NAME or NAMESPACE\/NAME; default: the one that the gateway serves/);
});

test('the state folder is looked at before the address is guessed', { skip: skipWithoutNamespaces() }, () => {
  const command = [process.execPath, join(ROOT, 'cli', 'main.ts'), 'client-config', '--state-dir', '/nonexistent'];
  // A network namespace of its own has no route to guess by.
  const { status, stderr } = spawnSync('unshare', ['--net', ...command], { encoding: 'utf8' });
  assert.equal(status, 2, stderr);
  assert.match(stderr, /^The state folder \/nonexistent is not there/);
});

test('a damaged file of the state folder is named, and nothing of it printed', (t) => {
  const base = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-export-'));
  t.after(() => base.remove());
  const folder = StateFolder.create(join(base.path, 'state'));
  const arguments_ = ['client-config', '--state-dir', folder.path, '--remote', '192.0.2.1'];
  for (const text of ['', '{"controlWrapKey":"secret', 'null', '[]', '{"formatVersion":2}']) {
    folder.write(CLIENT_CONFIG_FILE, text);
    const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'cli', 'main.ts'), ...arguments_], {
      encoding: 'utf8',
    });
    assert.equal(status, 2, text);
    assert.equal(
      stderr,
      `${folder.pathOf(CLIENT_CONFIG_FILE)} is damaged or of another version. A gateway that starts writes it anew\n`,
    );
  }
});
