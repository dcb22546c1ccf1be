// Each example that is a set of its own, applied as it is, with what its README says tried by a real client.
// The sets of restrict-by-group are tried in scenarios.test.ts.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { endpointIn, EXAMPLES, exampleNames, manifestsOf, rowsOf } from '../support/examples.ts';
import type { TestCertificate } from '../support/certificates.ts';
import { TRANSLATED_ADDRESS } from '../support/netns.ts';
import { productionSecrets, REVOKED } from '../support/production-secrets.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import type { StockClient } from '../support/stock-client.ts';
import { totpCode } from '../support/totp.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

for (const name of exampleNames().filter((one) => one !== 'production')) {
  test(`examples/${name} gives a real client what its README says`, { skip }, async (t) => {
    const manifests = manifestsOf(join(EXAMPLES, name));
    const isMeeting = name === 'client-to-client';
    const world = await World.create(t, { manifests, clients: isMeeting ? 2 : 1 });
    const connect = (index: number): Promise<StockClient> => {
      const profile = world.gateway.clientConfig({ endpoint: endpointIn(manifests), client: `client-${index}` });
      return world.connect({ index, profile });
    };
    await connect(0);
    const rows = rowsOf(readFileSync(join(EXAMPLES, name, 'README.md'), 'utf8'));
    const elsewhere = rows.filter(({ decidedBy }) => !decidedBy.startsWith('route clients'));
    assert.equal(elsewhere.length < rows.length, isMeeting);
    world.lab.target.ip(...elsewhere.map(({ to }) => `addr add ${to}/32 dev lan0`));
    for (const { to, answer } of elsewhere) {
      const { error, seenAs } = await world.agent().fetch(to);
      assert.equal(error === null, answer === 'allowed', `${to}: ${error}`);
      if (answer === 'allowed') assert.equal(seenAs, TRANSLATED_ADDRESS, to);
    }
    if (!isMeeting) return;
    const other = await connect(1);
    assert.ok(world.lab.client().ping(other.tunnelAddress()));
  });
}

test(
  'examples/production lets in who has certificate, password and code, and each group where its README says',
  { skip },
  async (t) => {
    const folder = join(EXAMPLES, 'production');
    const { yaml, people, clientCertificate } = await productionSecrets();
    const world = await World.create(t, { manifests: { ...manifestsOf(folder), 'secrets.yaml': yaml }, clients: 3 });
    const file = world.gateway.clientConfig({ endpoint: 'production' });
    const profileWith = ({ certificatePem, keyPem }: TestCertificate): string =>
      file
        .replace(/<cert>[^]*<\/cert>/, `<cert>\n${certificatePem}</cert>`)
        .replace(/<key>[^]*<\/key>/, `<key>\n${keyPem}</key>`);
    const rows = rowsOf(readFileSync(join(folder, 'README.md'), 'utf8'));
    world.lab.target.ip(...new Set(rows.map(({ to }) => `addr add ${to}/32 dev lan0`)));
    for (const [index, { name, password, groups = [], totpSecret }] of people.entries()) {
      const credentials = { username: name, password, code: () => totpCode(totpSecret, Date.now()) };
      await world.connect({ index, profile: profileWith(await clientCertificate(name)), credentials });
      const own = rows.filter((row) => row.groups.join() === groups.join());
      assert.ok(own.length > 1);
      for (const { to, answer } of own) {
        const { error } = await world.agent(index).fetch(to);
        assert.equal(error === null, answer === 'allowed', `${name} to ${to}: ${error}`);
      }
    }
    const revoked = world.client({
      index: 2,
      profile: profileWith(await clientCertificate('erin', REVOKED)),
      credentials: { username: 'erin', password: 'of erin', code: () => '000000' },
    });
    await world.gateway.log.waitFor(/"msg":"Refused certificate"/);
    revoked.signal('SIGKILL');
    await revoked.exited();
  },
);
