import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { CLIENT_AUTH, mint, pem, revocationListDer } from '../support/certificates.ts';
import { endpoint, rule, secret, targetNetwork, yamlOf } from '../support/manifests.ts';
import { METRICS_LISTEN, metricValue } from '../support/metrics.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { ROOT } from '../support/source-tree.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const SERIAL = '0a11ce';
const NAME = 'revoked';
/** Whatever the name's ending says, what counts is the content. */
const KEY = 'list.pem';

function object(kind: 'Secret' | 'ConfigMap', fields: Readonly<Record<string, unknown>>): object {
  return { apiVersion: 'v1', kind, metadata: { name: NAME }, ...fields };
}

test('[C93] [C94] [C95] a revocation list is read from Secrets and ConfigMaps in every form', { skip }, async (t) => {
  const authority = await mint({ commonName: 'company ca', authority: true });
  const alice = await mint({ commonName: 'alice', issuer: authority, serial: SERIAL, usages: [CLIENT_AUTH] });
  const manifests = (kind: 'Secret' | 'ConfigMap', serials: readonly string[], form: Form): string => {
    const der = revocationListDer({ authority, serials });
    const source = { [kind === 'Secret' ? 'secretRef' : 'configMapRef']: { name: NAME, key: KEY } };
    return yamlOf(
      endpoint({ spec: { clientCertificateRevocationList: { source } } }),
      targetNetwork(),
      rule('192.168.0.0/24'),
      secret('clients', { 'ca.crt': authority.certificatePem }),
      object(kind, form(der)),
    );
  };
  const world = await World.create(t, {
    options: ['--metrics-listen', METRICS_LISTEN],
    manifests: { 'all.yaml': manifests('Secret', [], (der) => ({ stringData: { [KEY]: pemOf(der) } })) },
  });
  const certificate = join(world.lab.folder, 'alice.crt');
  const key = join(world.lab.folder, 'alice.key');
  writeFileSync(certificate, alice.certificatePem);
  writeFileSync(key, alice.keyPem, { mode: 0o600 });
  const profile = world.gateway
    .clientConfig()
    .replace(/<cert>[\s\S]*<\/cert>/, `cert ${certificate}`)
    .replace(/<key>[\s\S]*<\/key>/, `key ${key}`);

  for (const { what, kind, form } of FORMS)
    await t.test(what, async () => {
      await world.gateway.apply('all.yaml', manifests(kind, [SERIAL], form));
      const refused = world.client({ profile });
      await refused.refused();
      await refused.exited();
      await world.gateway.apply('all.yaml', manifests(kind, [], form));
      const client = await world.client({ profile }).connected();
      await client.stop();
    });
  assert.equal(world.gateway.status().refused, null);
  const days = (Date.UTC(2040, 11, 31) - Date.now()) / 86_400_000;
  assert.equal(Math.round(metricValue(world.lab, 'clientvpn_crl_days_to_expiry')), Math.round(days));
});

test('one laptop is revoked with the CA that auto PKI made, as docs/operations.md says', { skip }, async (t) => {
  const listed = { clientCertificateRevocationList: { source: { configMapRef: { name: NAME } } } };
  const world = await World.create(t, { clients: 2 });
  const lost = await world.connect();
  await world.connect({ index: 1 });
  const text = readFileSync(join(ROOT, 'docs', 'operations.md'), 'utf8');
  const commands = /```sh\n(cd \/var\/lib\/clientvpn\/pki[^]*?)```/.exec(text)?.[1] ?? '';
  const folder = join(world.gateway.stateDir, 'pki', 'default', 'clients');
  const here = commands.replace(/^cd .*$/m, `cd ${folder}`).replaceAll('clients/laptop.pem', 'clients/client-1.pem');
  const { status, stderr } = spawnSync('sh', ['-euc', here], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const list = readFileSync(join(folder, 'crl.pem'), 'utf8');
  const from = lost.log.mark();
  await world.gateway.apply(
    'endpoint.yaml',
    yamlOf(endpoint({ spec: listed }), targetNetwork(), object('ConfigMap', { data: { 'crl.pem': list } })),
  );
  await lost.log.waitFor(/certificate revoked/, { from });
  assert.match(await world.client().refused(), /certificate not accepted/);
  assert.ok(world.lab.client(1).ping(TARGETS.vpc));
  assert.equal(world.gateway.connections().filter(({ status: its }) => its === 'active').length, 1);
});

type Form = (der: Buffer) => Readonly<Record<string, unknown>>;

const pemOf = (der: Buffer): string => pem('X509 CRL', der);
const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64');
const FORMS: readonly { readonly what: string; readonly kind: 'Secret' | 'ConfigMap'; readonly form: Form }[] = [
  { what: 'Secret, stringData, PEM', kind: 'Secret', form: (der) => ({ stringData: { [KEY]: pemOf(der) } }) },
  { what: 'Secret, data, DER', kind: 'Secret', form: (der) => ({ data: { [KEY]: base64(der) } }) },
  {
    what: 'Secret, data, gzip of PEM',
    kind: 'Secret',
    form: (der) => ({ data: { [KEY]: base64(gzipSync(pemOf(der))) } }),
  },
  { what: 'ConfigMap, data, PEM', kind: 'ConfigMap', form: (der) => ({ data: { [KEY]: pemOf(der) } }) },
  { what: 'ConfigMap, binaryData, DER', kind: 'ConfigMap', form: (der) => ({ binaryData: { [KEY]: base64(der) } }) },
  {
    what: 'ConfigMap, binaryData, gzip of DER',
    kind: 'ConfigMap',
    form: (der) => ({ binaryData: { [KEY]: base64(gzipSync(der)) } }),
  },
];
