import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { before, suite, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { isRevoked, revocationIndexOf } from '../../../../api/revocation-lookup.ts';
import { certificateFields } from '../../../../dataplane/auth/certificate-fields.ts';
import { readRevocationList } from '../../../../operator/pki/revocation-list.ts';
import { createAuthority, issueClientCertificate } from '../../../../operator/pki/authority.ts';
import { randomFrom, seeded } from '../../../support/seed.ts';
import { derOfPem, mintRsa, pem, revocationListDer, type TestCertificate } from '../../../support/certificates.ts';

const NOW = Date.UTC(2026, 10, 23);
const NEXT_UPDATE = Date.UTC(2040, 11, 31);
const SERIALS = ['01', '7F', '0080', '00FFEE', '40000000000000000000000000000001'];

suite('Revocation list', () => {
  let authority: TestCertificate;
  let small: Buffer;

  before(async () => {
    authority = await createAuthority({ commonName: 'test CA', now: new Date(NOW) });
    small = revocationListDer({ authority, serials: SERIALS });
  });

  test('[C93] [C94] PEM, DER and both gzipped give the same list', () => {
    const text = Buffer.from(pem('X509 CRL', small));
    const forms = [small, text, gzipSync(small), gzipSync(text), Buffer.from(text.toString().replaceAll('\n', '\r\n'))];
    for (const bytes of forms) {
      const { facts, material } = readRevocationList(bytes, authority.certificatePem, NOW);
      assert.equal(facts.state, 'Valid', facts.message);
      assert.equal(facts.entries, SERIALS.length);
      assert.equal(facts.nextUpdate, NEXT_UPDATE);
      assert.ok(material !== null);
      const lists = [revocationIndexOf(material)];
      const { issuerNameHash } = material;
      for (const serial of ['1', '7F', '80', 'FFEE', '40000000000000000000000000000001']) {
        assert.ok(isRevoked(lists, { issuerNameHash, serial }), serial);
      }
      for (const serial of ['2', '7E', '81', 'FFEF', '4000000000000000000000000000000100', '0']) {
        assert.ok(!isRevoked(lists, { issuerNameHash, serial }), serial);
      }
      assert.ok(!isRevoked(lists, { issuerNameHash: 'other', serial: '1' }));
    }
  });

  test('a certificate of the CA is found by the issuer and serial that a login reads from it', async () => {
    const alice = await issueClientCertificate(authority, { commonName: 'alice', now: new Date(NOW) });
    const { serialNumber, raw } = new X509Certificate(alice.certificatePem);
    const list = revocationListDer({ authority, serials: [serialNumber] });
    const { material } = readRevocationList(list, authority.certificatePem, NOW);
    const fields = certificateFields(raw);
    assert.ok(material !== null && fields !== undefined);
    const hash = Buffer.from(new Uint8Array(await crypto.subtle.digest('SHA-256', Buffer.from(fields.issuer))));
    const issuerNameHash = hash.toString('hex').toUpperCase();
    assert.ok(isRevoked([revocationIndexOf(material)], { issuerNameHash, serial: fields.serial }));
  });

  test('[C94] 20,000 entries are read in all three forms, and one more is too many', () => {
    const serials = Array.from({ length: 20_000 }, (_, index) => (2n ** 126n + BigInt(index * 7)).toString(16));
    const der = revocationListDer({ authority, serials, withReasons: true });
    for (const bytes of [der, Buffer.from(pem('X509 CRL', der)), gzipSync(der)]) {
      const { facts, material } = readRevocationList(bytes, authority.certificatePem, NOW);
      assert.equal(facts.state, 'Valid');
      assert.equal(facts.entries, 20_000);
      assert.ok(material !== null);
      const lists = [revocationIndexOf(material)];
      const { issuerNameHash } = material;
      assert.ok(serials.every((serial) => isRevoked(lists, { issuerNameHash, serial: serial.toUpperCase() })));
      const between = (2n ** 126n + 3n).toString(16).toUpperCase();
      assert.ok(!isRevoked(lists, { issuerNameHash, serial: between }));
    }
    const more = revocationListDer({ authority, serials: [...serials, '01'] });
    assert.equal(readRevocationList(more, authority.certificatePem, NOW).facts.state, 'TooManyEntries');
  });

  test('rows come out ascending, whatever the widths and the order', (context) => {
    const { seed } = seeded(context);
    const random = randomFrom(seed);
    const values = new Set(Array.from({ length: 500 }, () => randomSerial(random)));
    const hex = [...values].map((value) => evenHex(value.toString(16)));
    const { material } = readRevocationList(
      revocationListDer({ authority, serials: hex }),
      authority.certificatePem,
      NOW,
    );
    assert.ok(material !== null);
    const width = material.serialBytes;
    const rows =
      Buffer.from(material.serials, 'base64')
        .toString('hex')
        .match(new RegExp(`.{${width * 2}}`, 'g')) ?? [];
    const expected = [...values]
      .sort((a, b) => (a < b ? -1 : 1))
      .map((value) => value.toString(16).padStart(width * 2, '0'));
    assert.deepEqual(rows, expected);
  });

  test('[C92] an expired list says so and keeps what it names', () => {
    const expired = revocationListDer({ authority, serials: ['0A'], nextUpdate: '20260101000000Z' });
    const { facts, material } = readRevocationList(expired, authority.certificatePem, NOW);
    assert.equal(facts.state, 'Expired');
    assert.match(facts.message, /2026-01-01T00:00:00/);
    assert.ok(material !== null);
    assert.equal(readRevocationList(small, authority.certificatePem, NEXT_UPDATE).facts.state, 'Expired');
    assert.equal(readRevocationList(small, authority.certificatePem, NEXT_UPDATE - 1).facts.state, 'Valid');
  });

  test('[C93] a list of another CA, even of the same name, or with one bit changed has a bad signature', async () => {
    const namesake = await createAuthority({ commonName: 'test CA', now: new Date(NOW) });
    const other = await createAuthority({ commonName: 'other CA', now: new Date(NOW) });
    const forged = Buffer.from(small);
    const at = forged.indexOf(Buffer.from('0200ffee', 'hex').subarray(1));
    assert.ok(at > 0);
    forged[at + 1] ^= 1;
    for (const [bytes, bundle] of [
      [small, namesake.certificatePem],
      [small, other.certificatePem],
      [forged, authority.certificatePem],
      [small, ''],
    ] as const) {
      const { facts, material } = readRevocationList(bytes, bundle, NOW);
      assert.equal(facts.state, 'BadSignature');
      assert.equal(material, null);
    }
    const bundle = other.certificatePem + authority.certificatePem;
    assert.equal(readRevocationList(small, bundle, NOW).facts.state, 'Valid');
  });

  test('RSA, RSA-PSS and ECDSA signatures are verified; SHA-1 is refused', () => {
    const rsa = mintRsa({ commonName: 'RSA CA', bits: 2048 });
    const pss = ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:32'];
    for (const [options, expected] of [
      [{ digest: 'sha256' }, 'Valid'],
      [{ digest: 'sha512' }, 'Valid'],
      [{ digest: 'sha384', extraArguments: pss }, 'Valid'],
      [{ digest: 'sha1' }, 'BadSignature'],
    ] as const) {
      const list = revocationListDer({ authority: rsa, serials: ['02'], ...options });
      assert.equal(readRevocationList(list, rsa.certificatePem, NOW).facts.state, expected);
    }
    const sha384 = revocationListDer({ authority, serials: [], digest: 'sha384' });
    const empty = readRevocationList(sha384, authority.certificatePem, NOW);
    assert.equal(empty.facts.state, 'Valid');
    assert.equal(empty.facts.entries, 0);
  });

  test('[C93] garbage, truncation and what is no list are parse errors; nothing at all is not found', () => {
    const certificate = derOfPem(authority.certificatePem);
    const twice = Buffer.from(pem('X509 CRL', small) + pem('X509 CRL', small));
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    const cases = [
      Buffer.alloc(0),
      Buffer.from('hello'),
      certificate,
      twice,
      bomb,
      Buffer.concat([small, Buffer.from([0])]),
    ];
    for (const bytes of [...cases, gzipSync(small).subarray(0, 40)]) {
      assert.equal(readRevocationList(bytes, authority.certificatePem, NOW).facts.state, 'ParseError');
    }
    for (let length = 1; length < small.length; length += 1) {
      assert.equal(
        readRevocationList(small.subarray(0, length), authority.certificatePem, NOW).facts.state,
        'ParseError',
      );
    }
    assert.equal(readRevocationList(null, authority.certificatePem, NOW).facts.state, 'SourceNotFound');
  });

  test('agrees with the openssl program about every serial', () => {
    const text = execFileSync('openssl', ['crl', '-inform', 'DER', '-noout', '-text'], { input: small }).toString();
    const listed = [...text.matchAll(/Serial Number: ([0-9A-F]+)/g)].map(([, serial]) =>
      serial.replace(/^0+(?=.)/, ''),
    );
    const { material } = readRevocationList(small, authority.certificatePem, NOW);
    assert.ok(material !== null);
    const lists = [revocationIndexOf(material)];
    assert.equal(listed.length, SERIALS.length);
    assert.ok(listed.every((serial) => isRevoked(lists, { issuerNameHash: material.issuerNameHash, serial })));
  });
});

function randomSerial(random: () => number): bigint {
  const digits = 1 + Math.floor(random() * 38);
  return BigInt(`0x${Array.from({ length: digits }, () => Math.floor(random() * 16).toString(16)).join('')}`);
}

function evenHex(text: string): string {
  return text.length % 2 === 0 ? text : `0${text}`;
}
