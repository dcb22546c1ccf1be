import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdtempDisposableSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { runValidate } from '../../../cli/validate.ts';
import { DEFAULT_QUOTAS } from '../../../operator/endpoint/checks/quotas.ts';
import { AutoPki } from '../../../standalone/auto-pki.ts';
import { loadValidator } from '../../../standalone/check-manifests.ts';
import { clientConfigText, guessRemote } from '../../../standalone/client-config.ts';
import { storeClientConfigSource } from '../../../standalone/client-config-source.ts';
import { formatFinding } from '../../../standalone/findings.ts';
import { readGatewaySet, type GatewaySetOptions, type ServedSet } from '../../../standalone/gateway-set.ts';
import { StateFolder } from '../../../standalone/state-folder.ts';
import { mint, SERVER_AUTH } from '../../support/certificates.ts';
import { memoryIo } from '../../support/memory-io.ts';
import { endpoint, ENDPOINT, rule, secret, targetNetwork, users, yamlOf } from '../../support/manifests.ts';

const NOW = Date.UTC(2026, 10, 23);
const now = (): Date => new Date(NOW);
const validator = await loadValidator();

interface Bench {
  readonly folder: StateFolder;
  readonly options: GatewaySetOptions;
  write(...objects: readonly object[]): void;
  read(running?: ServedSet): Promise<ServedSet>;
  /** The findings of a set that must be refused. */
  refused(running?: ServedSet): Promise<string>;
}

function bench(t: TestContext, change: Partial<GatewaySetOptions> = {}): Bench {
  const base = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-set-'));
  t.after(() => base.remove());
  const folder = StateFolder.create(join(base.path, 'state'));
  const file = join(base.path, 'all.yaml');
  const options: GatewaySetOptions = {
    paths: [file],
    targetNetwork: undefined,
    quotas: DEFAULT_QUOTAS,
    autoPki: new AutoPki(folder, now),
    madeSecrets: new Map(),
    authTokenKey: Buffer.alloc(32).toString('base64'),
    validator,
    epoch: 7,
    ...change,
  };
  return {
    folder,
    options,
    write: (...objects) => writeFileSync(file, yamlOf(...objects)),
    read: async (running) => {
      const { set, findings } = await readGatewaySet(options, running ?? null, NOW);
      assert.ok(set !== null, findings.map(formatFinding).join('\n'));
      return set;
    },
    refused: async (running) => {
      const { set, findings } = await readGatewaySet(options, running ?? null, NOW);
      assert.equal(set, null);
      return findings.map(formatFinding).join('\n');
    },
  };
}

test('missing Secrets are made once and stay what they are over restarts', async (t) => {
  const first = bench(t);
  first.write(endpoint({ controlWrap: 'TlsCryptV2' }), targetNetwork(), rule('192.168.0.0/24'));
  const { config } = await first.read();
  assert.ok(config.secrets.clientCaPem !== null && config.secrets.controlWrapKey !== null);
  const again = { ...first.options, madeSecrets: new Map(), autoPki: new AutoPki(first.folder, now) };
  const { set } = await readGatewaySet(again, null, NOW);
  assert.deepEqual(set?.config.secrets, config.secrets);
  assert.equal(statSync(first.folder.pathOf('pki', 'default', 'server', 'server.pem')).mode & 0o777, 0o600);
  const [server, clients] = [config.secrets.serverCertificatePem, config.secrets.clientCaPem];
  assert.equal(new X509Certificate(server).checkIssued(new X509Certificate(clients)), false, 'a CA for each Secret');
});

test('a server certificate that ends soon is made anew by the same CA', async (t) => {
  const set = bench(t);
  set.write(endpoint(), targetNetwork());
  const before = await set.read();
  const later = NOW + 800 * 86_400_000;
  const autoPki = new AutoPki(set.folder, () => new Date(later));
  const after = await readGatewaySet({ ...set.options, autoPki, madeSecrets: new Map() }, null, later);
  assert.notEqual(after.set?.config.secrets.serverCertificatePem, before.config.secrets.serverCertificatePem);
  assert.equal(after.set?.clientConfig.serverCaPem, before.clientConfig.serverCaPem);
});

test('a running gateway renews its server certificate by the same CA, or says why it goes on with the old', async (t) => {
  const set = bench(t);
  set.write(endpoint(), targetNetwork());
  const before = await set.read();
  assert.equal(Math.round((before.renewsAt - NOW) / 86_400_000), 795);
  const autoPki = new AutoPki(set.folder, () => new Date(before.renewsAt));
  const renew = async (): Promise<ServedSet> => {
    const { set: renewed, findings } = await readGatewaySet({ ...set.options, autoPki }, before, before.renewsAt);
    assert.ok(renewed !== null, findings.map(formatFinding).join('\n'));
    return renewed;
  };
  const authority = set.folder.pathOf('pki', 'default', 'server', 'ca.pem');
  const text = readFileSync(authority, 'utf8');
  rmSync(authority);
  const kept = await renew();
  assert.equal(kept.config.secrets.serverCertificatePem, before.config.secrets.serverCertificatePem);
  assert.match(kept.warnings.map(formatFinding).join('\n'), /could not be renewed: .*not the CA that clients know/);
  assert.equal(existsSync(authority), false, 'no other CA is made');

  writeFileSync(authority, text);
  const after = await renew();
  assert.notEqual(after.config.secrets.serverCertificatePem, before.config.secrets.serverCertificatePem);
  assert.equal(after.clientConfig.serverCaPem, before.clientConfig.serverCaPem);
  assert.ok(after.renewsAt > before.renewsAt);
});

test('without auto PKI a missing Secret is an error with file and line', async (t) => {
  const set = bench(t, { autoPki: null });
  set.write(endpoint({ controlWrap: 'TlsCrypt' }), targetNetwork());
  const text = await set.refused();
  assert.match(
    text,
    /all\.yaml:\d+: ClientVpnEndpoint\/office: spec\.serverCertificate\.secretRef\.name: .*server.*--auto-pki/,
  );
  assert.match(text, /spec\.authentication\.mutual\.clientCA: .*clients.*--auto-pki/);
  assert.match(text, /spec\.controlWrapSecretRef: .*--auto-pki/);
  assert.equal(text.split('\n').length, 3, `each said once: ${text}`);
});

for (const [what, change, says] of [
  [
    'a connect handler',
    { spec: { clientConnectHandler: { enabled: true, url: 'https://h.example' } } },
    ['spec.clientConnectHandler.enabled: NotAllowed: connect handlers are not served yet'],
  ],
  [
    'a SAML provider',
    { spec: { authentication: { federated: { identityProviderRef: { name: 'sso' } } } } },
    [
      'spec.authentication.federated.identityProviderRef.name: NotSupported: providers of type Saml are not served yet',
      'spec.type: warning: NotSupported: providers of type Saml are not served yet',
    ],
  ],
  [
    'a revocation list at a URL',
    { spec: { clientCertificateRevocationList: { source: { url: { href: 'https://crl.example/crl.pem' } } } } },
    ['spec.clientCertificateRevocationList.source: SourceNotFound: lists at a URL are not fetched'],
  ],
] as const)
  test(`${what} is refused by validate and by a gateway, in the same words and at its line`, async (t) => {
    const set = bench(t);
    const sso = {
      apiVersion: 'clientvpn.dev/v1alpha1',
      kind: 'IdentityProvider',
      metadata: { name: 'sso' },
      spec: { type: 'Saml', saml: { metadata: { url: { href: 'https://idp.example/metadata' } } } },
    };
    set.write(endpoint(change), targetNetwork(), ...(what === 'a SAML provider' ? [sso] : []));
    const io = memoryIo();
    assert.equal(await runValidate({ manifests: set.options.paths, quotas: {} }, io), 2);
    // The Secrets are for auto PKI to make.
    const told = io.outText().replaceAll(/^.*warning: (SecretNotFound|ClientCANotFound).*\n/gm, '');
    assert.equal(await set.refused(), told.trimEnd());
    const [first = '', second = '', ...others] = told.trimEnd().split('\n');
    assert.match(first, /^\S+all\.yaml:\d+: ClientVpnEndpoint\/office: /);
    assert.equal(others.length, 0);
    for (const [index, text] of says.entries()) assert.ok([first, second][index]?.includes(text), told);
  });

test('validate says which Secrets a gateway will need, and that an endpoint alone serves nobody', async (t) => {
  const set = bench(t, { autoPki: null });
  set.write(endpoint({ controlWrap: 'TlsCrypt' }));
  const io = memoryIo();
  assert.equal(await runValidate({ manifests: set.options.paths, quotas: {} }, io), 0);
  const told = io.outText();
  assert.match(
    told,
    /spec\.controlWrapSecretRef: warning: SecretNotFound: controlWrap TlsCrypt needs a Secret with the key/,
  );
  assert.match(told, /: -: warning: there is no TargetNetwork of it, without which no gateway can serve it/);
});

test('auto PKI makes no users', async (t) => {
  const set = bench(t);
  const [provider] = users('staff', []);
  assert.ok(provider !== undefined);
  set.write(endpoint({ local: 'staff' }), targetNetwork(), provider);
  assert.match(await set.refused(), /IdentityProvider\/staff: .*staff-users/);
});

test('one target network is found by itself, of several one must be chosen', async (t) => {
  const set = bench(t);
  set.write(endpoint(), targetNetwork('net-a'), targetNetwork('net-b'));
  assert.match(await set.refused(), /choose one of net-a, net-b with --target-network/);
  const chosen = await readGatewaySet({ ...set.options, targetNetwork: 'net-b' }, null, NOW);
  assert.equal(chosen.set?.config.targetNetwork, 'net-b');
  const unknown = await readGatewaySet({ ...set.options, targetNetwork: 'net-c' }, null, NOW);
  assert.match(unknown.findings.map(formatFinding).join('\n'), /no TargetNetwork net-c/);
  set.write(endpoint());
  assert.match(await set.refused(), /no TargetNetwork/);
});

test('an edit grows the version, an edit that changes nothing does not', async (t) => {
  const set = bench(t);
  set.write(endpoint(), targetNetwork(), rule('192.168.0.0/24'));
  const first = await set.read();
  const same = await set.read(first);
  assert.deepEqual(same.config, first.config);
  set.write(endpoint(), targetNetwork(), rule('192.168.0.0/25'));
  const second = await set.read(first);
  assert.deepEqual(
    [first, second].map(({ config }) => config.snapshot.version),
    [1, 2],
  );
});

test('[C20] a description and the switch of the portal change nothing that is served: nobody is reset', async (t) => {
  const set = bench(t);
  set.write(endpoint(), targetNetwork(), rule('192.168.0.0/24'));
  const first = await set.read();
  set.write(endpoint({ spec: { description: 'For those who travel' } }), targetNetwork(), rule('192.168.0.0/24'));
  assert.deepEqual((await set.read(first)).config, first.config);
  set.write(endpoint({ spec: { selfServicePortal: { enabled: false } } }), targetNetwork(), rule('192.168.0.0/24'));
  assert.deepEqual((await set.read(first)).config, first.config);
});

for (const [what, change] of Object.entries({
  clientCIDR: { spec: { clientCIDR: '10.208.0.0/22' } },
  transport: { transport: 'tcp' },
  port: { port: 443 },
  controlWrap: { controlWrap: 'TlsCrypt' },
  authentication: { spec: { authentication: { mutual: { clientCA: { secretRef: { name: 'others' } } } } } },
} as const))
  test(`a changed ${what} asks for a restart`, async (t) => {
    const set = bench(t);
    set.write(endpoint(), targetNetwork());
    const running = await set.read();
    set.write(endpoint(change), targetNetwork());
    assert.match(await set.refused(running), new RegExp(`spec\\.${what}: .*; restart to apply`));
  });

test('certificates that ran out keep a gateway from starting, and a running one takes edits all the same', async (t) => {
  const manifests = bench(t, { autoPki: null });
  const dates = { notBefore: new Date(NOW - 86_400_000), notAfter: new Date(NOW + 86_400_000) };
  const authority = await mint({ commonName: 'CA', authority: true, ...dates });
  const server = await mint({ commonName: 'server', issuer: authority, usages: [SERVER_AUTH], ...dates });
  const secrets = [
    secret('server', {
      'tls.crt': server.certificatePem,
      'tls.key': server.keyPem,
      'ca.crt': authority.certificatePem,
    }),
    secret('clients', { 'ca.crt': authority.certificatePem }),
  ];
  const set = (...rules: object[]): void => manifests.write(endpoint(), targetNetwork(), ...secrets, ...rules);
  set(rule('192.168.0.0/24'), rule('10.0.0.0/8'));
  const running = await manifests.read();
  set(rule('192.168.0.0/24'));
  const later = NOW + 20 * 365 * 86_400_000;
  const edited = await readGatewaySet(manifests.options, running, later);
  assert.equal(edited.set?.config.snapshot.rules.length, 1, edited.findings.map(formatFinding).join('\n'));
  const started = await readGatewaySet(manifests.options, null, later);
  assert.equal(started.set, null);
  const found = started.findings.map(formatFinding).join('\n');
  assert.match(found, /serverCertificate\.secretRef\.name: Expired/);
  assert.match(found, /mutual\.clientCA: ClientCAExpired/);
});

test('a set without what is being served is refused, an empty one too', async (t) => {
  const set = bench(t);
  set.write(endpoint(), targetNetwork('net-a'));
  const running = await set.read();
  set.write(endpoint(), targetNetwork('net-z'));
  assert.match(await set.refused(running), /net-a that is being served is gone/);
  set.write();
  assert.match(await set.refused(running), /net-a that is being served is gone/);
});

test('a folder without a manifest is refused for that alone', async (t) => {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-empty-'));
  t.after(() => folder.remove());
  const set = bench(t, { paths: [folder.path] });
  assert.match(await set.refused(), new RegExp(`^${folder.path}:1: -: -: no manifests found in this folder: .*$`));
});

test('a client file carries the certificate of its client, the same each time', async (t) => {
  const set = bench(t);
  set.write(endpoint({ controlWrap: 'TlsCryptV2' }), targetNetwork());
  const { clientConfig, config } = await set.read();
  storeClientConfigSource(set.folder, clientConfig);
  const request = { stateDir: set.folder.path, endpoint: ENDPOINT, remote: 'vpn.example.com', wildcardDns: false };
  const file = (client: string | undefined): Promise<string> => clientConfigText({ ...request, client }, now());
  const [first, second, other] = [await file('alice'), await file('alice'), await file('../../bob')];
  const part = (text: string, tag: string): string => text.split(`<${tag}>`)[1]?.split(`</${tag}>`)[0] ?? '';
  assert.equal(part(first, 'cert'), part(second, 'cert'));
  assert.notEqual(part(first, 'tls-crypt-v2'), part(second, 'tls-crypt-v2'), 'a wrap key of its own for every file');
  const certificate = new X509Certificate(part(other, 'cert').trim());
  assert.equal(certificate.subject, 'CN=../../bob');
  assert.ok(certificate.checkIssued(new X509Certificate(config.secrets.clientCaPem ?? '')));
  assert.match(await file(undefined), /Contents of the client certificate/);
  await assert.rejects(file('x'.repeat(65)), /1 to 64 characters/);
  await assert.rejects(file('a\nb'), /control character/);
  await assert.rejects(clientConfigText({ ...request, client: 'a', remote: 'a b' }, now()), /no host name/);
  await assert.rejects(clientConfigText({ ...request, client: 'a', endpoint: 'x' }, now()), /serves office/);
});

test('with a foreign client CA, --client is refused and the places stay open', async (t) => {
  const set = bench(t);
  set.write(endpoint(), targetNetwork());
  const { clientConfig } = await set.read();
  storeClientConfigSource(set.folder, { ...clientConfig, ownClientCa: null });
  const request = { stateDir: set.folder.path, endpoint: ENDPOINT, remote: '192.0.2.7', wildcardDns: false };
  await assert.rejects(clientConfigText({ ...request, client: 'alice' }, now()), /its owner issues the certificates/);
  assert.match(await clientConfigText({ ...request, client: undefined }, now()), /Contents of the private key/);
});

test('without mutual authentication, --client changes nothing', async (t) => {
  const set = bench(t);
  set.write(endpoint({ local: 'staff' }), targetNetwork(), ...users('staff', []));
  storeClientConfigSource(set.folder, (await set.read()).clientConfig);
  const request = { stateDir: set.folder.path, endpoint: ENDPOINT, remote: '192.0.2.7', wildcardDns: false };
  const text = await clientConfigText({ ...request, client: 'alice' }, now());
  assert.equal(text, await clientConfigText({ ...request, client: undefined }, now()));
  assert.match(text, /^auth-user-pass$/m);
  assert.doesNotMatch(text, /<cert>/);
});

test('before a gateway has run, client-config says what to do', async (t) => {
  const { folder } = bench(t);
  const request = {
    stateDir: folder.path,
    endpoint: ENDPOINT,
    client: undefined,
    remote: '192.0.2.7',
    wildcardDns: false,
  };
  await assert.rejects(clientConfigText(request, now()), /No gateway has run on/);
  assert.match((await guessRemote()) ?? '0.0.0.0', /^[0-9.]+$/);
});
