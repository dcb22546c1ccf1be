import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { hashPassword, parsePasswordHash, verifyPassword } from '../../../../dataplane/auth/password-hash.ts';

const SALT = 'c29tZXNhbHRzb21lc2E';
const HASH = 'RdescudvJCsgt3ub+b4dWRWJTmaaJObG0oFhoyDfI6M';

suite('Password hash', () => {
  test('a hash verifies its own password and no other', async () => {
    const text = await hashPassword('correct horse');
    assert.match(text, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    const hash = parsePasswordHash(text);
    assert.ok(hash !== undefined);
    assert.equal(await verifyPassword('correct horse', hash), true);
    assert.equal(await verifyPassword('Correct horse', hash), false);
    assert.equal(await verifyPassword('', hash), false);
    assert.notEqual(await hashPassword('correct horse'), text);
  });

  test('checking a password leaves the event loop its turns', async () => {
    const costly = parsePasswordHash(`$argon2id$v=19$m=65536,t=12,p=1$${SALT}$${HASH}`);
    assert.ok(costly !== undefined);
    let isChecked = false;
    const check = verifyPassword('correct horse', costly).finally(() => (isChecked = true));
    for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate);
    assert.equal(isChecked, false);
    await check;
  });

  test('a hash of another program verifies', async () => {
    // The reference program: echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32
    const hash = parsePasswordHash(
      '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc',
    );
    assert.ok(hash !== undefined);
    assert.equal(await verifyPassword('password', hash), true);
  });

  test('other algorithms, absurd costs and second spellings are refused', () => {
    const good = `$argon2id$v=19$m=19456,t=2,p=1$${SALT}$${HASH}`;
    assert.ok(parsePasswordHash(good) !== undefined);
    for (const text of [
      good.replace('argon2id', 'argon2i'),
      good.replace('v=19', 'v=16'),
      good.replace('m=19456', 'm=4'),
      good.replace('m=19456', 'm=4294967295'),
      good.replace('m=19456', 'm=200000'),
      good.replace('t=2', 't=0'),
      good.replace('t=2', 't=99'),
      good.replace('m=19456,t=2', 'm=131072,t=16'),
      good.replace('p=1', 'p=9'),
      good.replace('m=19456,t=2', 't=2,m=19456'),
      good.replace(SALT, 'c29t'),
      good.replace(HASH, 'RdescudvJCsg'),
      `${good}=`,
      `${good} `,
      good.replace(/M$/, 'N'),
      '$2b$12$abcdefghijklmnopqrstuv',
      '',
      'x'.repeat(10_000),
    ]) {
      assert.equal(parsePasswordHash(text), undefined, text.slice(0, 80));
    }
  });
});
