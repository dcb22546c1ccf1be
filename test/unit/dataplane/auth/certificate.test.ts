import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { before, suite, test } from 'node:test';
import type { PresentedCertificate } from '../../../../api/authentication.ts';
import { checkCertificate } from '../../../../dataplane/auth/certificate.ts';
import { certificateFields } from '../../../../dataplane/auth/certificate-fields.ts';
import {
  CLIENT_AUTH,
  derOfPem,
  mint,
  mintRsa,
  SERVER_AUTH,
  type TestCertificate,
} from '../../../support/certificates.ts';

const DAY = 86_400_000;

suite('Client certificate', () => {
  const now = Date.now();
  let authority: TestCertificate;

  before(async () => {
    authority = await mint({ commonName: 'test CA', authority: true });
  });

  const presented = (certificate: TestCertificate, authorizationError: string | null = null): PresentedCertificate => ({
    chain: [derOfPem(certificate.certificatePem), derOfPem(authority.certificatePem)],
    authorizationError,
  });
  const reasonFor = (certificate: PresentedCertificate | null, at = now): string | null => {
    const check = checkCertificate(certificate, at);
    return check.ok ? null : check.reason;
  };

  test('a good one gives its name, fingerprints and serial', async () => {
    const alice = await mint({ commonName: 'alice', issuer: authority, usages: [CLIENT_AUTH], serial: '00ab01' });
    const check = checkCertificate(presented(alice), now);
    assert.ok(check.ok);
    const [leaf, root] = [alice, authority].map(({ certificatePem }) => new X509Certificate(certificatePem));
    assert.equal(check.identity.commonName, 'alice');
    const expected = [leaf, root].map(({ fingerprint256 }) => fingerprint256.replaceAll(':', ''));
    assert.deepEqual(check.identity.fingerprints, expected);
    assert.equal(check.identity.leaf.serial, 'AB01');
    assert.equal(check.identity.chain.length, 2);
    assert.equal(check.identity.isComplete, true);
  });

  test('[C88] each fault has its reason', async () => {
    const good = await mint({ commonName: 'alice', issuer: authority, usages: [CLIENT_AUTH] });
    const leaf = (options: object): Promise<TestCertificate> =>
      mint({ commonName: 'alice', issuer: authority, usages: [CLIENT_AUTH], ...options });
    assert.equal(reasonFor(presented(good)), null);
    assert.equal(reasonFor(null), 'no-certificate');
    assert.equal(reasonFor({ chain: [], authorizationError: null }), 'no-certificate');
    assert.equal(reasonFor(presented(good), now + 2 * DAY), 'certificate-expired');
    assert.equal(reasonFor(presented(good), now - 2 * DAY), 'certificate-not-yet-valid');
    assert.equal(reasonFor(presented(await leaf({ usages: [SERVER_AUTH] }))), 'certificate-wrong-usage');
    assert.equal(reasonFor(presented(await leaf({ usages: ['2.5.29.37.0'] }))), 'certificate-wrong-usage');
    assert.equal(reasonFor(presented(await mint({ commonName: 'a', issuer: authority }))), 'certificate-wrong-usage');
    assert.equal(reasonFor(presented(await leaf({ authority: true }))), 'certificate-wrong-usage');
    assert.equal(reasonFor(presented(await leaf({ commonName: null }))), 'certificate-without-common-name');
    assert.equal(reasonFor(presented(await leaf({ commonName: '' }))), 'certificate-without-common-name');
    assert.equal(
      reasonFor({ chain: [Buffer.from('30820001', 'hex')], authorizationError: null }),
      'certificate-malformed',
    );
  });

  test('[C88] what TLS found is named, also when it is new to us', async () => {
    const good = await mint({ commonName: 'alice', issuer: authority, usages: [CLIENT_AUTH] });
    for (const [code, reason] of [
      ['CERT_HAS_EXPIRED', 'certificate-expired'],
      ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'certificate-of-unknown-authority'],
      ['INVALID_PURPOSE', 'certificate-wrong-usage'],
      ['SOMETHING_NEW', 'certificate-not-verified'],
      ['constructor', 'certificate-not-verified'],
    ] as const) {
      assert.equal(reasonFor(presented(good, code)), reason);
    }
  });

  test('a common name with what nobody can see, or too long for one, is refused', async () => {
    for (const commonName of ['al\u0000ice', 'alice\n', 'a\u202ecila', 'a\u2028b', '\u0085', 'x'.repeat(65)]) {
      const certificate = await mint({ commonName, issuer: authority, usages: [CLIENT_AUTH] });
      assert.equal(reasonFor(presented(certificate)), 'certificate-common-name-invalid', JSON.stringify(commonName));
    }
  });

  test('of several common names the last one counts', async () => {
    const certificate = await mint({ commonName: ['users', 'alice'], issuer: authority, usages: [CLIENT_AUTH] });
    const check = checkCertificate(presented(certificate), now);
    assert.ok(check.ok);
    assert.equal(check.identity.commonName, 'alice');
  });

  test('RSA needs 2048 bits; P-256, P-384 and P-521 are good', async () => {
    const rsaAuthority = mintRsa({ commonName: 'RSA CA', bits: 2048 });
    const weak = mintRsa({ commonName: 'bob', bits: 1024, issuer: rsaAuthority });
    const strong = mintRsa({ commonName: 'bob', bits: 2048, issuer: rsaAuthority });
    assert.equal(reasonFor(presented(weak)), 'certificate-weak-key');
    assert.equal(reasonFor(presented(strong)), null);
    for (const curve of ['P-256', 'P-384', 'P-521'] as const) {
      const certificate = await mint({ commonName: 'bob', issuer: authority, usages: [CLIENT_AUTH], curve });
      assert.equal(reasonFor(presented(certificate)), null);
    }
  });

  test('[C88] the key is what OpenSSL says it is, and other kinds are weak', () => {
    const cases: readonly [readonly string[], string | null, string][] = [
      [['rsa:2048'], null, 'rsa 2048'],
      [['rsa:2047'], 'certificate-weak-key', 'rsa 2047'],
      [['rsa-pss', '-pkeyopt', 'rsa_keygen_bits:2048'], null, 'rsa 2048'],
      [['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'], null, 'ec 1.2.840.10045.3.1.7'],
      [['ec', '-pkeyopt', 'ec_paramgen_curve:secp256k1'], 'certificate-weak-key', 'ec 1.3.132.0.10'],
      [
        ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-pkeyopt', 'ec_param_enc:explicit'],
        'certificate-weak-key',
        'other',
      ],
      [['ed25519'], 'certificate-weak-key', 'other'],
    ];
    for (const [key, reason, kind] of cases) {
      const extensions = ['basicConstraints=critical,CA:FALSE', 'extendedKeyUsage=clientAuth'];
      const text = execFileSync(
        'openssl',
        ['req', '-x509', '-noenc', '-subj', '/CN=bob', '-keyout', '/dev/null', '-newkey', ...key].concat(
          extensions.flatMap((extension) => ['-addext', extension]),
        ),
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
      );
      const der = derOfPem(text.slice(text.indexOf('-----BEGIN')));
      const found = certificateFields(der)?.key;
      assert.equal(
        found?.kind === 'rsa' ? `rsa ${found.bits}` : found?.kind === 'ec' ? `ec ${found.curve}` : found?.kind,
        kind,
      );
      const { publicKey } = new X509Certificate(der);
      if (found?.kind === 'rsa') assert.equal(found.bits, publicKey.asymmetricKeyDetails?.modulusLength);
      assert.equal(reasonFor({ chain: [der], authorizationError: null }, Date.now() + 60_000), reason, key.join(' '));
    }
  });

  test('a certificate cut anywhere is malformed, never an exception', async () => {
    const good = derOfPem(
      (await mint({ commonName: 'alice', issuer: authority, usages: [CLIENT_AUTH] })).certificatePem,
    );
    for (let length = 0; length < good.length; length += 1) {
      assert.equal(certificateFields(good.subarray(0, length)), undefined);
    }
  });
});
