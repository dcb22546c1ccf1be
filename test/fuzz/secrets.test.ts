import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import fc from 'fast-check';
import { gzipSync } from 'node:zlib';
import { isRevoked, revocationIndexOf } from '../../api/revocation-lookup.ts';
import { certificateFields } from '../../dataplane/auth/certificate-fields.ts';
import { checkCertificate } from '../../dataplane/auth/certificate.ts';
import { LocalProvider } from '../../dataplane/auth/local-provider.ts';
import { parsePasswordHash } from '../../dataplane/auth/password-hash.ts';
import { parseStaticChallengeAnswer } from '../../dataplane/auth/static-challenge.ts';
import { LoginThrottle } from '../../dataplane/auth/throttle.ts';
import { decodeBase32 } from '../../dataplane/auth/totp.ts';
import { derChildren, readDer, type DerElement } from '../../net/der.ts';
import { certificatesIn, clientCaFacts, serverCertificateFacts } from '../../operator/pki/certificate-facts.ts';
import { readRevocationList } from '../../operator/pki/revocation-list.ts';
import { addressBlock } from '../../net/address-block.ts';
import { CLIENT_AUTH, derOfPem, mint, pem, revocationListDer, type TestCertificate } from '../support/certificates.ts';
import { seeded } from '../support/seed.ts';

const NOW = Date.UTC(2026, 10, 23);
const RUNS = 3000;

/** Valid bytes with a few octets changed, cut, doubled or taken out. */
function mutated(valid: Uint8Array): fc.Arbitrary<Uint8Array> {
  const change = fc.record({
    at: fc.nat(valid.length - 1),
    kind: fc.constantFrom('set', 'cut', 'double', 'remove'),
    value: fc.constantFrom(0, 1, 0x30, 0x7f, 0x80, 0x82, 0x84, 0xff),
  });
  return fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) => {
    let bytes: Buffer = Buffer.from(valid);
    for (const { at, kind, value } of changes) {
      const index = at % Math.max(1, bytes.length);
      if (kind === 'set' && bytes.length > 0) bytes[index] = value;
      if (kind === 'cut') bytes = bytes.subarray(0, index);
      if (kind === 'double') bytes = Buffer.concat([bytes.subarray(0, index), bytes.subarray(index / 2)]);
      if (kind === 'remove') bytes = Buffer.concat([bytes.subarray(0, index), bytes.subarray(index + 1)]);
    }
    return bytes;
  });
}

suite('What reads certificates, lists and credentials', () => {
  let authority: TestCertificate;
  let leaf: Buffer;
  let list: Buffer;

  before(async () => {
    authority = await mint({ commonName: 'CA', authority: true });
    leaf = derOfPem((await mint({ commonName: 'alice', issuer: authority, usages: [CLIENT_AUTH] })).certificatePem);
    list = revocationListDer({
      authority,
      serials: ['01', '7FFF', '40000000000000000000000000000001'],
      withReasons: true,
    });
  });

  test('a changed revocation list is never valid, and never an exception', (context) => {
    const states = new Map<string, number>();
    fc.assert(
      fc.property(mutated(list), fc.constantFrom('der', 'pem', 'gzip'), (bytes, form) => {
        fc.pre(!Buffer.from(bytes).equals(list));
        const file = form === 'der' ? bytes : form === 'gzip' ? gzipSync(bytes) : Buffer.from(pem('X509 CRL', bytes));
        const { facts, material } = readRevocationList(file, authority.certificatePem, NOW);
        states.set(facts.state, (states.get(facts.state) ?? 0) + 1);
        assert.ok(facts.state !== 'Valid' || sameButForTheOuterPart(bytes), facts.message);
        assert.equal(material === null, facts.state !== 'Valid' && facts.state !== 'Expired');
      }),
      { ...seeded(context), numRuns: RUNS },
    );
    context.diagnostic(`states reached: ${JSON.stringify([...states])}`);
    assert.ok((states.get('BadSignature') ?? 0) > 50, 'the corpus reaches the signature check');

    // Octets behind the signed part and the signature: a changed list there can only be the same list.
    function sameButForTheOuterPart(bytes: Uint8Array): boolean {
      const [before_, after_] = [list, bytes].map((candidate) => {
        const whole = readDer(candidate);
        const tbs = whole === undefined ? undefined : derChildren(whole, 3)?.[0];
        return tbs === undefined ? '' : Buffer.from(candidate.subarray(tbs.start, tbs.end)).toString('hex');
      });
      return before_ === after_;
    }
  });

  test('a lookup agrees with a plain set', (context) => {
    const serial = fc.bigInt({ min: 0n, max: 2n ** 160n - 1n });
    fc.assert(
      fc.property(fc.uniqueArray(serial, { maxLength: 60 }), fc.array(serial, { maxLength: 20 }), (listed, others) => {
        const width = listed.reduce((most, value) => Math.max(most, Math.ceil(value.toString(16).length / 2)), 1);
        const rows = listed.map((value) => Buffer.from(value.toString(16).padStart(width * 2, '0'), 'hex'));
        const serials = Buffer.concat(rows.sort((a, b) => a.compare(b))).toString('base64');
        const index = revocationIndexOf({ issuerNameHash: 'x', nextUpdate: null, serialBytes: width, serials });
        for (const value of [...listed, ...others]) {
          const reference = { issuerNameHash: 'x', serial: value.toString(16).toUpperCase() };
          assert.equal(isRevoked([index], reference), listed.includes(value));
        }
      }),
      { ...seeded(context), numRuns: 500 },
    );
  });

  test('a changed certificate is a verdict, never an exception', (context) => {
    let read = 0;
    fc.assert(
      fc.property(mutated(leaf), (bytes) => {
        if (certificateFields(bytes) !== undefined) read += 1;
        checkCertificate({ chain: [bytes], authorizationError: null }, NOW);
        const text = pem('CERTIFICATE', bytes);
        certificatesIn(text);
        clientCaFacts(text, NOW);
        serverCertificateFacts(text, authority.keyPem, NOW);
      }),
      { ...seeded(context), numRuns: RUNS },
    );
    context.diagnostic(`${read} of ${RUNS} were still read as certificates`);
    assert.ok(read > 50);
  });

  test('DER elements lie inside their parents, whatever the bytes', (context) => {
    const inside = (item: DerElement, depth: number): void => {
      assert.ok(item.start < item.contentStart && item.contentStart <= item.end && item.end <= item.bytes.length);
      if (depth === 6) return;
      for (const child of derChildren(item, 50) ?? []) {
        assert.ok(child.start >= item.contentStart && child.end <= item.end);
        inside(child, depth + 1);
      }
    };
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated(leaf), mutated(list));
    fc.assert(
      fc.property(bytes, (input) => {
        const item = readDer(input);
        if (item !== undefined) inside(item, 0);
      }),
      { ...seeded(context), numRuns: RUNS },
    );
  });

  test('password hashes keep their bounds', (context) => {
    const number = fc.oneof(fc.nat(), fc.constantFrom(0, 1, 2, 3, 8, 19_456, 65_536, 131_072, 131_073));
    const base64 = fc
      .uint8Array({ maxLength: 80, size: 'max' })
      .map((bytes) => Buffer.from(bytes).toString('base64').replaceAll('=', ''));
    const shaped = fc
      .tuple(number, number, number, base64, base64)
      .map(([m, t, p, salt, hash]) => `$argon2id$v=19$m=${m},t=${t},p=${p}$${salt}$${hash}`);
    const small = fc
      .tuple(
        fc.integer({ min: 8, max: 200_000 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 5 }),
        base64,
        base64,
      )
      .map(([m, t, p, salt, hash]) => `$argon2id$v=19$m=${m},t=${t},p=${p}$${salt}$${hash}`);
    let accepted = 0;
    fc.assert(
      fc.property(fc.oneof(shaped, small, fc.string()), (text) => {
        const hash = parsePasswordHash(text);
        if (hash === undefined) return;
        accepted += 1;
        assert.ok(hash.memoryKib <= 131_072 && hash.memoryKib * hash.passes <= 1_048_576 && hash.parallelism <= 4);
        assert.ok(hash.salt.length >= 8 && hash.hash.length >= 16 && hash.hash.length <= 64);
      }),
      { ...seeded(context), numRuns: RUNS },
    );
    assert.ok(accepted > 20, `${accepted} accepted`);
  });

  test('challenge answers come back as they were sent, and other text is refused or harmless', (context) => {
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    const text = fc.string({ unit: 'grapheme', maxLength: 40 });
    fc.assert(
      fc.property(text, text, (password, response) => {
        const answer = parseStaticChallengeAnswer(`SCRV1:${base64(password)}:${base64(response)}`);
        assert.deepEqual(answer, { password, response });
      }),
      { ...seeded(context), numRuns: 1000 },
    );
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('SCRV1', ':', '=', 'QQ==', 'QQ', '/w==', 'é', '\0', ' '), { maxLength: 8 }),
        (parts) => {
          const sent = parts.join('');
          const answer = parseStaticChallengeAnswer(sent);
          if (answer === undefined) return;
          assert.equal(`SCRV1:${base64(answer.password)}:${base64(answer.response)}`, sent);
        },
      ),
      { ...seeded(context), numRuns: RUNS },
    );
  });

  test('no users document and no login makes the provider throw or let in by chance', async (context) => {
    const name = fc.oneof(fc.string({ maxLength: 20 }), fc.constantFrom('alice', '__proto__', 'constructor', ''));
    const user = fc.record({
      name,
      passwordHash: fc.oneof(
        fc.string(),
        fc.constant('$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'),
      ),
      groups: fc.array(fc.string()),
      totpSecret: fc.string(),
    });
    const login = fc.record({
      username: name,
      password: fc.string(),
      remoteAddress: fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()),
      certificateFingerprint: fc.option(fc.string()),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(user),
        fc.constantFrom('totp', 'none'),
        fc.array(login),
        async (users, factor, logins) => {
          const provider = new LocalProvider({
            now: () => NOW,
            tokens: { issue: () => 'token', check: () => 'foreign' },
            usedTotpSteps: [],
            wait: () => Promise.resolve(),
            verify: () => Promise.resolve(false),
          });
          provider.setUsers(users, factor);
          for (const attempt of logins) {
            const verdict = await provider.authenticate(attempt, new AbortController().signal);
            assert.equal(verdict.kind, 'denied');
          }
        },
      ),
      { ...seeded(context), numRuns: 300 },
    );
  });

  test('addresses of any text fall into a block, and base32 never throws', (context) => {
    const throttle = new LoginThrottle();
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()), fc.string(), (address, text) => {
        assert.ok(addressBlock(address, 24, 56).length <= address.length + 40);
        throttle.admit({ username: text, remoteAddress: address, certificateFingerprint: null }, NOW);
        decodeBase32(text);
      }),
      { ...seeded(context), numRuns: RUNS },
    );
  });
});
