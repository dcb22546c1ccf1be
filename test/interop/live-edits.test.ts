// What may change while clients are connected, beyond routes and rules: each holds for the next login, and cuts nobody.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { CLIENT_AUTH, mint, SERVER_AUTH } from '../support/certificates.ts';
import { waitForProgress } from '../support/flows.ts';
import { LogLines } from '../support/log-lines.ts';
import { endpoint, rule, secret, targetNetwork, users, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

test('[C6] [C16] [C19] edits of the endpoint hold for the next login', { skip }, async (t) => {
  const servers = await mint({ commonName: 'server ca', authority: true });
  const server = async (commonName: string) => {
    const { certificatePem, keyPem } = await mint({ commonName, issuer: servers, usages: [SERVER_AUTH] });
    return { 'tls.crt': certificatePem, 'tls.key': keyPem, 'ca.crt': servers.certificatePem };
  };
  const [oldCa, newCa] = [
    await mint({ commonName: 'clients one', authority: true }),
    await mint({ commonName: 'clients two', authority: true }),
  ];
  const [first, second] = [await server('server one'), await server('server two')];
  const alice = await mint({ commonName: 'alice', issuer: oldCa, usages: [CLIENT_AUTH] });
  const bob = await mint({ commonName: 'bob', issuer: newCa, usages: [CLIENT_AUTH] });
  const manifests = (spec: Readonly<Record<string, unknown>>, serverSecret = first, clientCa = oldCa): string =>
    yamlOf(
      endpoint({ spec }),
      targetNetwork(),
      rule('192.168.0.0/24'),
      secret('server', serverSecret),
      secret('clients', { 'ca.crt': clientCa.certificatePem }),
    );
  const world = await World.create(t, { clients: 2, manifests: { 'all.yaml': manifests({}) } });
  const profileOf = (name: string, { certificatePem, keyPem }: typeof alice): string => {
    const [cert, key] = [join(world.lab.folder, `${name}.crt`), join(world.lab.folder, `${name}.key`)];
    writeFileSync(cert, certificatePem);
    writeFileSync(key, keyPem, { mode: 0o600 });
    return world.gateway
      .clientConfig()
      .replace(/<cert>[\s\S]*<\/cert>/, `cert ${cert}`)
      .replace(/<key>[\s\S]*<\/key>/, `key ${key}`);
  };
  const stays = await world.client({ index: 0, profile: profileOf('alice', alice) }).connected();
  const download = await world.agent(0).download(TARGETS.vpc);

  const banner = { enabled: true, text: 'Authorised staff only.' };
  for (const { what, text, profile, sees, told } of [
    { what: 'DNS servers', text: manifests({ dnsServers: ['10.0.0.53'] }), sees: /dhcp-option DNS 10\.0\.0\.53/ },
    {
      what: 'a banner',
      text: manifests({ clientLoginBanner: banner }),
      told: /^\d+,msg-n Authorised%20staff%20only\.$/,
    },
    { what: 'logging', text: manifests({ connectionLogging: { enabled: true, group: 'vpn' } }) },
    { what: 'a rotated server certificate', text: manifests({}, second), sees: /VERIFY OK: depth=0, CN=server two/ },
    { what: 'a rotated client CA', text: manifests({}, second, newCa), profile: profileOf('bob', bob) },
  ] as readonly Edit[])
    await t.test(what, async () => {
      const mark = world.gateway.log.mark();
      await world.gateway.apply('all.yaml', text);
      const management = join(world.lab.folder, 'management.sock');
      // What OpenVPN's own GUI is told, and shows in a window; the plain program prints no banner.
      const options = told === undefined ? [] : ['--management', management, 'unix'];
      const client = await world
        .client({ index: 1, options, profile: profile ?? profileOf('alice', alice) })
        .connected();
      if (sees !== undefined) await client.log.waitFor(sees);
      if (told !== undefined) await waitForLine(management, 'echo all', told);
      await client.stop();
      if (what === 'logging')
        await world.gateway.log.waitFor(/"connection-log-type":"connection-reset"/, { from: mark });
      await waitForProgress(download);
      assert.equal(stays.keyExchanges(), 1, 'who is connected is left alone');
    });

  await t.test('the certificate of the old CA opens nothing any more', async () => {
    const client = world.client({ index: 1, profile: profileOf('alice', alice) });
    await client.refused();
    await client.exited();
  });
});

test('a password that changes holds for the next login', { skip }, async (t) => {
  const manifests = (password: string): string =>
    yamlOf(
      endpoint({ local: 'staff' }),
      targetNetwork(),
      rule('192.168.0.0/24'),
      ...users('staff', [{ name: 'alice', password }]),
    );
  const world = await World.create(t, { clients: 2, manifests: { 'all.yaml': manifests('old') } });
  const login = (password: string, index: number) =>
    world.client({ index, certificate: null, credentials: { username: 'alice', password } });
  const connected = await login('old', 0).connected();
  await world.gateway.apply('all.yaml', manifests('new'));
  const refused = login('old', 1);
  await refused.refused();
  await refused.exited();
  await login('new', 1).connected();
  assert.ok(await world.agent(0).reaches(TARGETS.vpc));
  assert.equal(connected.keyExchanges(), 1);
});

test('[C58] full and split tunnel change places, and every client ends on the new mode', { skip }, async (t) => {
  const manifests = (splitTunnel: boolean): string =>
    yamlOf(endpoint({ splitTunnel, spec: DRAIN_AT_ONCE }), targetNetwork(), rule('192.168.0.0/24'));
  const world = await World.create(t, { manifests: { 'all.yaml': manifests(false) } });
  const client = await world.connect();
  assert.ok(client.routes().some(({ dst }) => dst === '128.0.0.0/1'));
  const mark = client.log.mark();
  await world.gateway.apply('all.yaml', manifests(true));
  await client.connected({ from: mark });
  assert.ok(!client.routes().some(({ dst }) => dst === '128.0.0.0/1'));
});

const DRAIN_AT_ONCE = { dataPlane: { drainSeconds: 0 } };

interface Edit {
  readonly what: string;
  readonly text: string;
  /** Of the client that logs in after the edit. */
  readonly profile?: string;
  /** In the client's log. */
  readonly sees?: RegExp;
  /** At its management interface. */
  readonly told?: RegExp;
}

async function waitForLine(socketPath: string, command: string, pattern: RegExp): Promise<void> {
  const socket = connect(socketPath);
  const log = new LogLines();
  log.add(socket);
  socket.write(`${command}\n`);
  await log.waitFor(pattern);
  socket.destroy();
}
