import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { before, suite, test } from 'node:test';
import { checkCertificate } from '../../../../dataplane/auth/certificate.ts';
import {
  createAuthority,
  issueClientCertificate,
  issueServerCertificate,
  type IssuedCertificate,
} from '../../../../operator/pki/authority.ts';
import { clientCaFacts, serverCertificateFacts } from '../../../../operator/pki/certificate-facts.ts';
import { CLIENT_AUTH, mint, mintRsa, SERVER_AUTH } from '../../../support/certificates.ts';
import { TlsPair } from '../../../support/tls-pair.ts';

const DAY = 86_400_000;

suite('Auto PKI', () => {
  const now = new Date();
  let authority: IssuedCertificate;
  let server: IssuedCertificate;

  before(async () => {
    authority = await createAuthority({ commonName: 'clientvpn CA', now });
    const names = ['vpn.example.com', '192.0.2.1', '2001:db8::1'];
    server = await issueServerCertificate(authority, { commonName: 'vpn.example.com', names, now });
  });

  test('the server certificate is valid, with names, serverAuth and key usage', () => {
    const facts = serverCertificateFacts(server.certificatePem, server.keyPem, now.getTime());
    assert.equal(facts.state, 'Valid', facts.message);
    assert.deepEqual(facts.certificate?.sans, ['DNS:vpn.example.com', 'IP:192.0.2.1', 'IP:2001:DB8:0:0:0:0:0:1']);
    assert.equal(facts.certificate?.subject, 'CN=vpn.example.com');
    assert.match(facts.certificate?.fingerprint ?? '', /^[0-9A-F]{64}$/);
    const parsed = new X509Certificate(server.certificatePem);
    const ca = new X509Certificate(authority.certificatePem);
    assert.ok(parsed.verify(ca.publicKey));
    assert.ok(parsed.checkIssued(ca));
    assert.match(parsed.toLegacyObject().ext_key_usage?.join() ?? '', /1\.3\.6\.1\.5\.5\.7\.3\.1/);
  });

  test('any text can be a common name, and comes back from a login as it was', async () => {
    for (const commonName of ['alice', '#alice, "x"=+;<>\\', 'Zoë Müller', '王小明']) {
      const client = await issueClientCertificate(authority, { commonName, now });
      const pair = new TlsPair({ ...server, clientCaPem: authority.certificatePem });
      const { ready } = await pair.handshake(1, { cert: client.certificatePem, key: client.keyPem });
      const check = checkCertificate(ready.certificate, Date.now());
      assert.ok(check.ok, JSON.stringify(check));
      assert.equal(check.identity.commonName, commonName);
      assert.ok(check.identity.isComplete);
    }
  });

  test('serials differ, and no certificate outlives its CA', async () => {
    const late = new Date(now.getTime() + 3600 * DAY);
    const [a, b] = await Promise.all([
      issueClientCertificate(authority, { commonName: 'a', now: late }),
      issueClientCertificate(authority, { commonName: 'a', now: late }),
    ]);
    const [first, second] = [new X509Certificate(a.certificatePem), new X509Certificate(b.certificatePem)];
    assert.notEqual(first.serialNumber, second.serialNumber);
    assert.deepEqual(first.validToDate, new X509Certificate(authority.certificatePem).validToDate);
  });
});

suite('Server certificate facts', () => {
  const now = Date.now();
  const state = (certificate: string, key: string, at = now): string =>
    serverCertificateFacts(certificate, key, at).state;

  test('name each fault by its condition reason', async () => {
    const good = await mint({ commonName: 'vpn', usages: [SERVER_AUTH], notAfter: new Date(now + 60 * DAY) });
    const other = await mint({ commonName: 'vpn', usages: [SERVER_AUTH] });
    const clientOnly = await mint({ commonName: 'vpn', usages: [CLIENT_AUTH] });
    const rsaAuthority = mintRsa({ commonName: 'CA', bits: 1024 });
    assert.equal(state(good.certificatePem, good.keyPem), 'Valid');
    assert.equal(state(good.certificatePem, good.keyPem, now + 45 * DAY), 'ExpiringSoon');
    assert.equal(state(good.certificatePem, good.keyPem, now + 61 * DAY), 'Expired');
    assert.equal(state(good.certificatePem, good.keyPem, now - DAY), 'NotYetValid');
    assert.equal(state(good.certificatePem, other.keyPem), 'KeyMismatch');
    assert.equal(state(clientOnly.certificatePem, clientOnly.keyPem), 'MissingServerAuthEKU');
    const bare = await mint({ commonName: 'vpn', usages: [SERVER_AUTH], withoutKeyUsage: true });
    assert.equal(state(bare.certificatePem, bare.keyPem), 'MissingServerAuthEKU', 'remote-cert-tls wants both usages');
    assert.equal(state(rsaAuthority.certificatePem, rsaAuthority.keyPem), 'WeakKey');
    assert.equal(state('', good.keyPem), 'ParseError');
    assert.equal(state(good.certificatePem, 'no key'), 'ParseError');
    assert.equal(state('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', good.keyPem), 'ParseError');
  });

  test('never show key bytes in a message', async () => {
    const one = await mint({ commonName: 'vpn', usages: [SERVER_AUTH] });
    const two = await mint({ commonName: 'vpn', usages: [SERVER_AUTH] });
    const secret = two.keyPem.split('\n')[1];
    assert.ok(!JSON.stringify(serverCertificateFacts(one.certificatePem, two.keyPem, now)).includes(secret));
  });
});

suite('Client CA facts', () => {
  test('a bundle is valid while one of its CAs is', async () => {
    const now = Date.now();
    const current = await mint({ commonName: 'current', authority: true });
    const old = await mint({
      commonName: 'old',
      authority: true,
      notBefore: new Date(now - 9 * DAY),
      notAfter: new Date(now - DAY),
    });
    const leaf = await mint({ commonName: 'leaf', issuer: current, usages: [CLIENT_AUTH] });
    assert.equal(clientCaFacts(current.certificatePem + old.certificatePem, now).state, 'Valid');
    assert.equal(clientCaFacts(current.certificatePem + old.certificatePem, now).certificates.length, 2);
    assert.equal(clientCaFacts(old.certificatePem, now).state, 'ClientCAExpired');
    assert.equal(clientCaFacts(current.certificatePem, now - 2 * DAY).state, 'ClientCANotYetValid');
    assert.equal(clientCaFacts(leaf.certificatePem, now).state, 'ParseError');
    assert.equal(clientCaFacts('', now).state, 'ParseError');
  });
});
