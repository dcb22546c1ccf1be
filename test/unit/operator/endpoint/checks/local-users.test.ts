import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readLocalUsers } from '../../../../../operator/endpoint/checks/local-users.ts';
import { LOCAL_USERS_FORMATS } from '../../../../../standalone/gather-facts.ts';

const HASH = '$argon2id$v=19$m=19456,t=2,p=1$khkm8mr58S2IFPoEmBAskg$CYMI/eUHFrarblRYRRdNd19qZznSmhli/ZPTgYO4AKU';
const TOTP = 'JBSWY3DPEHPK3PXPJBSWY3DP';
const read = (text: string): ReturnType<typeof readLocalUsers> => readLocalUsers(text, LOCAL_USERS_FORMATS);
const problems = (text: string): string => {
  const reading = read(text);
  return reading.ok ? '' : reading.problems.join('\n');
};
const user = (fields: string): string => `users:\n  - {${fields}}\n`;

describe('readLocalUsers', () => {
  it('reads users, their groups and second factors', () => {
    const text = `users:
  - name: erin
    passwordHash: ${HASH}
    groups: [Eng, eng]
    totpSecret: ${TOTP}
  - name: dan
    passwordHash: ${HASH}
`;
    assert.deepEqual(read(text), {
      ok: true,
      document: {
        users: [
          { name: 'erin', passwordHash: HASH, groups: ['Eng', 'eng'], totpSecret: TOTP },
          { name: 'dan', passwordHash: HASH, groups: [] },
        ],
      },
    });
  });

  it('no users at all are a valid document', () =>
    assert.deepEqual(read('users: []'), { ok: true, document: { users: [] } }));

  it('names compare byte for byte: two spellings are two users, one spelling twice is a problem', () => {
    const two = `users: [{name: Erin, passwordHash: '${HASH}'}, {name: erin, passwordHash: '${HASH}'}]`;
    assert.equal(problems(two), '');
    assert.match(problems(two.replace('Erin', 'erin')), /users\[1\]: "erin" is there already, as users\[0\]/);
  });

  it('a name has 1 to 255 bytes', () => {
    assert.equal(problems(user(`name: ${'n'.repeat(255)}, passwordHash: '${HASH}'`)), '');
    assert.match(problems(user(`name: ${'n'.repeat(256)}, passwordHash: '${HASH}'`)), /255 bytes/);
    assert.match(problems(user(`name: ${'é'.repeat(128)}, passwordHash: '${HASH}'`)), /255 bytes/);
    assert.match(problems(user(`name: "", passwordHash: '${HASH}'`)), /255 bytes/);
    assert.match(problems(user(`name: 12, passwordHash: '${HASH}'`)), /255 bytes/);
  });

  it('refuses other hashes and says nothing of them', () => {
    for (const hash of ['secret-in-clear', '$2b$10$abcdefghijklmnopqrstuv', HASH.replace('argon2id', 'argon2i')]) {
      const text = problems(user(`name: erin, passwordHash: ${hash}`));
      assert.match(text, /users\[0\] \("erin"\): passwordHash must be/);
      assert.ok(!text.includes(hash));
    }
  });

  it('shows a name without the hash that a lost line break made part of it', () => {
    const text = problems(`users: [{name: 'erin passwordHash: ${HASH}'}]`);
    assert.match(text, /\("erin passwordHash: …"\)/);
    assert.doesNotMatch(text, /\$argon2/);
  });

  it('does not name the pieces of an unquoted hash in braces', () => {
    const text = problems(user(`name: erin, passwordHash: ${HASH}`));
    assert.match(text, /in braces a passwordHash needs quotes/);
    assert.ok(!text.includes('khkm8'));
  });

  it('refuses a TOTP secret that is not base32, and does not repeat it', () => {
    const text = problems(user(`name: erin, passwordHash: '${HASH}', totpSecret: "0189!"`));
    assert.match(text, /totpSecret must be base32/);
    assert.ok(!text.includes('0189'));
  });

  it('says all that is wrong at once', () => {
    const text = problems(
      `users:\n  - {name: a, passwordHash: x, groups: Eng}\n  - 7\n  - {name: b, password: y}\nmore: 1\n`,
    );
    assert.equal(text.split('\n').length, 6);
  });

  it('survives documents that are not YAML or not a list, without quoting them', () => {
    for (const text of ['', '[]', 'users: 1', 'users: {a: 1}', '{', 'users: [*nobody]', '[['.repeat(50_000)]) {
      assert.equal(read(text).ok, false, text.slice(0, 20));
    }
    assert.ok(!problems('users: [{name: erin, passwordHash: "hunter2').includes('hunter2'));
  });
});
