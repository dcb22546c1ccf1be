import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  CLIENT_AUTH,
  mint,
  mintRsa,
  pem,
  revocationListDer,
  SERVER_AUTH,
  type TestCertificate,
} from '../support/certificates.ts';
import { waitForProgress } from '../support/flows.ts';
import { endpoint, rule, secret, targetNetwork, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import type { StockClient } from '../support/stock-client.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const authority = await mint({ commonName: 'company ca', authority: true });
const aliceSerial = '0a11ce';
const alice = await mint({ commonName: 'alice', issuer: authority, serial: aliceSerial, usages: [CLIENT_AUTH] });
const bob = await mint({ commonName: 'bob', issuer: authority, usages: [CLIENT_AUTH] });

const OWN_CA = [
  endpoint(),
  targetNetwork(),
  rule('192.168.0.0/24'),
  secret('clients', { 'ca.crt': authority.certificatePem }),
];

function clientWith(
  world: World,
  certificate: TestCertificate,
  options: readonly string[] = [],
  index = 0,
): StockClient {
  const cert = join(world.lab.folder, `${index}.crt`);
  const key = join(world.lab.folder, `${index}.key`);
  writeFileSync(cert, certificate.certificatePem);
  writeFileSync(key, certificate.keyPem, { mode: 0o600 });
  const profile = world.gateway
    .clientConfig()
    .replace(/<cert>[\s\S]*<\/cert>/, `cert ${cert}`)
    .replace(/<key>[\s\S]*<\/key>/, `key ${key}`);
  return world.client({ index, profile, options });
}

for (const { version, tls } of [
  { version: 'TLS 1.2', tls: ['--tls-version-max', '1.2'] },
  { version: 'TLS 1.3', tls: ['--tls-version-min', '1.3'] },
]) {
  test(`[P48] [C88] only good certificates connect with ${version}`, { skip }, async (t) => {
    const foreignCa = await mint({ commonName: 'company ca', authority: true });
    const hour = 3_600_000;
    const refused: Readonly<Record<string, TestCertificate>> = {
      'of a foreign CA of the same name': await mint({ commonName: 'alice', issuer: foreignCa, usages: [CLIENT_AUTH] }),
      expired: await mint({
        commonName: 'alice',
        issuer: authority,
        usages: [CLIENT_AUTH],
        notBefore: new Date(Date.now() - 2 * hour),
        notAfter: new Date(Date.now() - hour),
      }),
      'for servers': await mint({ commonName: 'alice', issuer: authority, usages: [SERVER_AUTH] }),
      'without a common name': await mint({ commonName: null, issuer: authority, usages: [CLIENT_AUTH] }),
    };
    const world = await World.create(t, { manifests: { 'all.yaml': yamlOf(...OWN_CA) } });
    for (const [what, certificate] of Object.entries(refused)) {
      await t.test(`a certificate ${what} is refused`, async () => {
        const client = clientWith(world, certificate, tls);
        assert.match(await client.refused(), /AUTH_FAILED,certificate not accepted/);
        await client.exited();
      });
    }
    await t.test('a good one connects', async () => {
      const client = await clientWith(world, alice, tls).connected();
      assert.ok(await world.agent().reaches(TARGETS.vpc));
      await client.stop();
    });
    assert.deepEqual(
      world.gateway.connections().filter(({ status }) => status === 'failed'),
      [],
      'refused certificates make no connection record',
    );
  });
}

test('[C89] RSA certificates connect too', { skip }, async (t) => {
  const rsaAuthority = mintRsa({ commonName: 'rsa ca', bits: 2048 });
  const world = await World.create(t, {
    manifests: {
      'all.yaml': yamlOf(
        endpoint(),
        targetNetwork(),
        rule('192.168.0.0/24'),
        secret('clients', { 'ca.crt': authority.certificatePem + rsaAuthority.certificatePem }),
      ),
    },
  });
  await clientWith(world, mintRsa({ commonName: 'rosa', bits: 2048, issuer: rsaAuthority })).connected();
  assert.ok(await world.agent().reaches(TARGETS.vpc));
});

test('[P49] [C91] who is revoked while connected is cut, nobody else', { skip }, async (t) => {
  const listOf = (serials: readonly string[]): object =>
    secret('revoked', { 'crl.pem': pem('X509 CRL', revocationListDer({ authority, serials })) });
  const [, ...rest] = OWN_CA;
  const source = { secretRef: { name: 'revoked', key: 'crl.pem' } };
  const withList = endpoint({ spec: { clientCertificateRevocationList: { source } } });
  const world = await World.create(t, {
    clients: 2,
    manifests: { 'all.yaml': yamlOf(withList, ...rest), 'crl.yaml': yamlOf(listOf([])) },
  });
  const revoked = await clientWith(world, alice, [], 0).connected();
  await clientWith(world, bob, [], 1).connected();
  const download = await world.agent(1).download(TARGETS.vpc);

  world.gateway.write('crl.yaml', yamlOf(listOf([aliceSerial])));
  await revoked.exited();
  await waitForProgress(download);
  const names = world.gateway
    .connections()
    .filter(({ status }) => status === 'active')
    .map(({ commonName }) => commonName);
  assert.deepEqual(names, ['bob']);

  const again = clientWith(world, alice, [], 0);
  assert.match(await again.refused(), /AUTH_FAILED,certificate not accepted/);
});

test(
  '[C92] a list that runs out keeps new clients out, says why, and leaves the connected alone',
  { skip },
  async (t) => {
    const [, ...rest] = OWN_CA;
    const source = { secretRef: { name: 'revoked', key: 'crl.pem' } };
    const tomorrow = new Date(Date.now() + 86_400_000);
    const listUntil = (date: Date): string => {
      const nextUpdate = date.toISOString().replaceAll(/[-:T]|\.\d+/g, '');
      return yamlOf(
        secret('revoked', { 'crl.pem': pem('X509 CRL', revocationListDer({ authority, serials: [], nextUpdate })) }),
      );
    };
    const world = await World.create(t, {
      clients: 2,
      manifests: {
        'all.yaml': yamlOf(endpoint({ spec: { clientCertificateRevocationList: { source } } }), ...rest),
        'crl.yaml': listUntil(tomorrow),
      },
    });
    await clientWith(world, alice, [], 0).connected();
    await world.gateway.apply('crl.yaml', listUntil(new Date(Date.now() + 3_000)));
    await waitFor(
      'the condition',
      () =>
        world.gateway
          .status()
          .objects.flatMap(({ conditions }) => conditions)
          .some((c) => c.type === 'RevocationListValid' && c.status === 'False' && c.reason === 'Expired'),
      20_000,
    );
    const kept = clientWith(world, bob, [], 1);
    await kept.refused();
    await kept.exited();
    assert.ok(await world.agent(0).reaches(TARGETS.vpc));

    await world.gateway.apply('crl.yaml', listUntil(tomorrow));
    await clientWith(world, bob, [], 1).connected();
  },
);

test(
  '[C93] a list that cannot be used keeps new clients out, says why, and leaves the connected alone',
  { skip },
  async (t) => {
    const foreign = await mint({ commonName: 'company ca', authority: true });
    const [, ...rest] = OWN_CA;
    const source = { secretRef: { name: 'revoked', key: 'crl.pem' } };
    const listBy = (issuer: TestCertificate, serials: readonly string[], nextUpdate?: string): string =>
      yamlOf(
        secret('revoked', {
          'crl.pem': pem(
            'X509 CRL',
            revocationListDer({ authority: issuer, serials, ...(nextUpdate === undefined ? {} : { nextUpdate }) }),
          ),
        }),
      );
    const world = await World.create(t, {
      clients: 3,
      manifests: {
        'all.yaml': yamlOf(endpoint({ spec: { clientCertificateRevocationList: { source } } }), ...rest),
        'crl.yaml': listBy(authority, []),
      },
    });
    const first = await clientWith(world, alice, [], 0).connected();
    await clientWith(world, bob, [], 1).connected();
    for (const { what, text, reason, logged } of [
      {
        what: 'of a foreign CA',
        text: listBy(foreign, [aliceSerial]),
        reason: 'BadSignature',
        logged: 'revocation-list-unusable',
      },
      {
        what: 'that is garbage',
        text: yamlOf(secret('revoked', { 'crl.pem': 'no list' })),
        reason: 'ParseError',
        logged: 'revocation-list-unusable',
      },
      {
        what: 'that has expired, and names one of the connected',
        text: listBy(authority, [aliceSerial], '20250101000000Z'),
        reason: 'Expired',
        logged: 'revocation-list-expired',
      },
    ]) {
      await t.test(`a list ${what}`, async () => {
        const from = world.gateway.log.mark();
        await world.gateway.apply('crl.yaml', text);
        const isSaid = (): boolean =>
          world.gateway
            .status()
            .objects.flatMap(({ conditions }) => conditions)
            .some((c) => c.type === 'RevocationListValid' && c.status === 'False' && c.reason === reason);
        await waitFor('the condition', isSaid);
        const late = clientWith(world, bob, [], 2);
        await late.refused();
        await late.exited();
        await world.gateway.log.waitFor(new RegExp(`"reason":"${logged}"`), { from });
        assert.ok(await world.agent(1).reaches(TARGETS.vpc));
        if (reason === 'Expired') await first.exited();
        else assert.ok(await world.agent(0).reaches(TARGETS.vpc));
        // Rules must not wait for somebody to bring a good list.
        await world.gateway.apply('more.yaml', yamlOf(rule(`172.16.${reason.length}.0/24`)));
      });
    }
    await world.gateway.apply('crl.yaml', listBy(authority, []));
    await clientWith(world, bob, [], 2).connected();
  },
);
