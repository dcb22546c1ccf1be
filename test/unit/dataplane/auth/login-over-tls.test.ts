import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import type { DataPlaneConfig } from '../../../../api/data-plane-config.ts';
import { LocalProvider } from '../../../../dataplane/auth/local-provider.ts';
import { LoginAuthenticator } from '../../../../dataplane/auth/login-authenticator.ts';
import { CLIENT_AUTH, mint, mintRsa, SERVER_AUTH, type TestCertificate } from '../../../support/certificates.ts';
import { TlsPair } from '../../../support/tls-pair.ts';

const DAY = 86_400_000;

suite('Mutual login over TLS', () => {
  let authority: TestCertificate;
  let server: TestCertificate;
  const leaf = (options: object): Promise<TestCertificate> =>
    mint({ commonName: 'alice', issuer: authority, usages: [CLIENT_AUTH], ...options });

  before(async () => {
    authority = await mint({ commonName: 'client CA', authority: true });
    server = await mint({ commonName: 'vpn', issuer: authority, usages: [SERVER_AUTH] });
  });

  /** The verdict that a client with the certificate gets, through a real handshake. */
  async function verdictFor(
    version: 'TLSv1.2' | 'TLSv1.3',
    client: TestCertificate | null,
    credentials: TestCertificate = server,
    clientCaPem: string = authority.certificatePem,
  ): Promise<string> {
    const pair = new TlsPair({ ...credentials, clientCaPem });
    const certificate = client === null ? {} : { cert: client.certificatePem, key: client.keyPem };
    const { ready } = await pair.handshake(1, { minVersion: version, maxVersion: version, ...certificate });
    const local = new LocalProvider({
      now: Date.now,
      tokens: { issue: () => 'token', check: () => 'foreign' },
      usedTotpSteps: [],
    });
    const authenticator = new LoginAuthenticator({
      now: Date.now,
      local,
      onFault: ({ message }) => assert.fail(message),
    });
    // Only what a login depends on.
    authenticator.reconfigure({
      snapshot: { authentication: { mutual: true, identityProvider: null } },
      secrets: { revocation: { kind: 'None' }, localUsers: null },
    } as unknown as DataPlaneConfig);
    const verdict = await authenticator.authenticate(
      {
        requestId: 1,
        purpose: 'login',
        remoteAddress: '192.0.2.1',
        certificate: ready.certificate,
        username: '',
        password: '',
        prompts: [],
      },
      { signal: new AbortController().signal },
    );
    if (verdict.kind === 'granted') return verdict.identity.username;
    assert.equal(verdict.certificateRefused, true);
    return verdict.reason;
  }

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`[C88] ${version}: every bad certificate is refused by its reason`, async () => {
      const foreign = await mint({ commonName: 'client CA', authority: true });
      const past = { notBefore: new Date(Date.now() - 2 * DAY), notAfter: new Date(Date.now() - DAY) };
      assert.equal(await verdictFor(version, await leaf({})), 'alice');
      assert.equal(await verdictFor(version, null), 'no-certificate');
      assert.equal(await verdictFor(version, await leaf(past)), 'certificate-expired');
      assert.equal(await verdictFor(version, await leaf({ usages: [SERVER_AUTH] })), 'certificate-wrong-usage');
      assert.equal(await verdictFor(version, await leaf({ usages: undefined })), 'certificate-wrong-usage');
      assert.equal(await verdictFor(version, await leaf({ commonName: null })), 'certificate-without-common-name');
      const namesake = await verdictFor(version, await leaf({ issuer: foreign }));
      assert.equal(namesake, 'certificate-of-unknown-authority');
      const selfSigned = await mint({ commonName: 'alice', usages: [CLIENT_AUTH] });
      assert.equal(await verdictFor(version, selfSigned), 'certificate-of-unknown-authority');
      assert.equal(await verdictFor(version, authority), 'certificate-wrong-usage');
    });

    test(`[C89] ${version}: the server's CA and the clients' may be one or two, EC or RSA`, async () => {
      const rsaAuthority = mintRsa({ commonName: 'RSA CA', bits: 2048 });
      const rsaServer = mintRsa({ commonName: 'vpn', bits: 2048, issuer: rsaAuthority });
      const rsaClient = mintRsa({ commonName: 'bob', bits: 2048, issuer: rsaAuthority });
      assert.equal(await verdictFor(version, await leaf({}), server), 'alice');
      assert.equal(await verdictFor(version, await leaf({}), rsaServer), 'alice');
      assert.equal(await verdictFor(version, rsaClient, rsaServer, rsaAuthority.certificatePem), 'bob');
      const both = authority.certificatePem + rsaAuthority.certificatePem;
      assert.equal(await verdictFor(version, rsaClient, server, both), 'bob');
    });
  }
});
