import assert from 'node:assert/strict';
import { before, beforeEach, suite, test } from 'node:test';
import type { AuthenticationRequest } from '../../../../api/authentication.ts';
import type { DataPlaneConfig, LocalUser, RevocationMaterial } from '../../../../api/data-plane-config.ts';
import type { LoginTokens, PlainVerdict } from '../../../../dataplane/auth/authenticator.ts';
import { LocalProvider } from '../../../../dataplane/auth/local-provider.ts';
import { LoginAuthenticator } from '../../../../dataplane/auth/login-authenticator.ts';
import { hashPassword } from '../../../../dataplane/auth/password-hash.ts';
import { totpCode, totpStep } from '../../../../dataplane/auth/totp.ts';
import { readRevocationList } from '../../../../operator/pki/revocation-list.ts';
import { CLIENT_AUTH, derOfPem, mint, revocationListDer, type TestCertificate } from '../../../support/certificates.ts';

const SECRET_TEXT = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';
const SECRET = Buffer.from('12345678901234567890');
const signal = new AbortController().signal;
const onFault = (): never => assert.fail('nothing is broken');

/** Tokens as plain text: `TOKEN <subject>`; one ending in `!` has expired. */
const plainTokens: LoginTokens = {
  issue: (subject) => `TOKEN ${subject}`,
  check: (subject, presented) => {
    if (!presented.startsWith('TOKEN ')) return 'foreign';
    if (presented === `TOKEN ${subject}!`) return 'expired';
    return presented === `TOKEN ${subject}` ? 'valid' : 'invalid';
  },
};

suite('Login', () => {
  let now = Date.now();
  let waited: number[] = [];
  let users: readonly LocalUser[] = [];
  let authority: TestCertificate;
  let alice: TestCertificate;
  let verified: string[] = [];

  before(async () => {
    authority = await mint({ commonName: 'test CA', authority: true });
    alice = await mint({ commonName: 'alice-laptop', issuer: authority, usages: [CLIENT_AUTH], serial: '0a0b' });
    users = [
      { name: 'alice', passwordHash: await hashPassword('pä$$:word'), groups: ['eng', 'ops'], totpSecret: SECRET_TEXT },
      { name: 'bob', passwordHash: await hashPassword('hunter2'), groups: [] },
      { name: 'carol', passwordHash: 'not a hash', groups: ['eng'] },
    ];
  });

  beforeEach(() => {
    now = Date.now();
    waited = [];
    verified = [];
  });

  const providerOptions = () => ({
    now: () => now,
    tokens: plainTokens,
    usedTotpSteps: [],
    wait: async (ms: number) => {
      waited.push(ms);
      now += ms;
    },
  });

  function authenticatorFor(
    options: {
      mutual?: boolean;
      local?: boolean;
      mfa?: boolean;
      revocation?: RevocationMaterial;
      users?: readonly LocalUser[];
    },
    local = new LocalProvider(providerOptions()),
  ): LoginAuthenticator {
    const authenticator = new LoginAuthenticator({ now: () => now, local, onFault });
    authenticator.reconfigure(configFor(options));
    return authenticator;
  }

  function configFor(options: Parameters<typeof authenticatorFor>[0]): DataPlaneConfig {
    const mfa = options.mfa ? { prompt: 'Code' } : null;
    // Only what a login depends on.
    return {
      snapshot: {
        authentication: {
          mutual: options.mutual ?? false,
          identityProvider: (options.local ?? true) ? { name: 'people', type: 'Local', mfa } : null,
        },
      },
      secrets: { revocation: options.revocation ?? { kind: 'None' }, localUsers: { users: options.users ?? users } },
    } as unknown as DataPlaneConfig;
  }

  function request(fields: Partial<AuthenticationRequest>): AuthenticationRequest {
    return {
      requestId: 1,
      purpose: 'login',
      remoteAddress: '192.0.2.1',
      certificate: null,
      username: '',
      password: '',
      prompts: [],
      ...fields,
    };
  }

  const ask = (authenticator: LoginAuthenticator, fields: Partial<AuthenticationRequest>): Promise<PlainVerdict> =>
    authenticator.authenticate(request(fields), { signal });
  const withCertificate = (certificate: TestCertificate) => ({
    certificate: {
      chain: [derOfPem(certificate.certificatePem), derOfPem(authority.certificatePem)],
      authorizationError: null,
    },
  });
  const reasonOf = (verdict: PlainVerdict): string => (verdict.kind === 'granted' ? 'granted' : verdict.reason);
  const challenge = (password: string, code: string): string =>
    `SCRV1:${Buffer.from(password).toString('base64')}:${Buffer.from(code).toString('base64')}`;

  test('a certificate alone is an identity without groups or token', async () => {
    const verdict = await ask(authenticatorFor({ mutual: true, local: false }), withCertificate(alice));
    assert.ok(verdict.kind === 'granted');
    assert.equal(verdict.authToken, null);
    assert.equal(verdict.identity.username, 'alice-laptop');
    assert.equal(verdict.identity.commonName, 'alice-laptop');
    assert.deepEqual(verdict.identity.groups, []);
    assert.equal(verdict.identity.certificateSerial?.serial, 'A0B');
    assert.equal(verdict.identity.certificateFingerprints.length, 2);
  });

  test('a password is an identity with groups and a token', async () => {
    const verdict = await ask(authenticatorFor({}), { username: 'alice', password: 'pä$$:word' });
    assert.ok(verdict.kind === 'granted');
    assert.deepEqual(verdict.identity.groups, ['eng', 'ops']);
    assert.equal(verdict.identity.username, 'alice');
    assert.equal(verdict.identity.commonName, '');
    assert.equal(verdict.identity.certificateSerial, null);
    assert.match(verdict.authToken ?? '', /^TOKEN alice\n/);
  });

  test('[C90] with both, either one missing denies, and names need not agree', async () => {
    const both = authenticatorFor({ mutual: true });
    const good = { ...withCertificate(alice), username: 'bob', password: 'hunter2' };
    const verdict = await ask(both, good);
    assert.ok(verdict.kind === 'granted');
    assert.equal(verdict.identity.username, 'bob');
    assert.equal(verdict.identity.commonName, 'alice-laptop');
    assert.equal(reasonOf(await ask(both, { ...good, certificate: null })), 'no-certificate');
    assert.equal(reasonOf(await ask(both, { ...good, password: 'wrong' })), 'bad-password');
    assert.equal(reasonOf(await ask(both, withCertificate(alice))), 'unknown-user');
  });

  test('[C88] a refused certificate is marked as one and asks for no password', async () => {
    const local = new LocalProvider({ ...providerOptions(), verify: async (password) => verified.push(password) > 0 });
    const both = authenticatorFor({ mutual: true }, local);
    const verdict = await ask(both, { username: 'bob', password: 'hunter2' });
    assert.ok(verdict.kind === 'denied');
    assert.equal(verdict.certificateRefused, true);
    assert.equal(verdict.message, 'certificate not accepted');
    assert.deepEqual(verified, []);
  });

  test('an endpoint that asks for nothing lets nobody in', async () => {
    const nothing = authenticatorFor({ mutual: false, local: false });
    assert.equal(reasonOf(await ask(nothing, withCertificate(alice))), 'authentication-not-configured');
    const fresh = new LoginAuthenticator({ now: () => now, local: new LocalProvider(providerOptions()), onFault });
    assert.equal(reasonOf(await ask(fresh, { username: 'bob', password: 'hunter2' })), 'authentication-not-configured');
  });

  test('[C79] a wrong password and an unknown user look and cost the same', async () => {
    const hashes: number[] = [];
    const local = new LocalProvider({
      ...providerOptions(),
      verify: async (_password, hash) => {
        hashes.push(hash.memoryKib * hash.passes);
        return false;
      },
    });
    const authenticator = authenticatorFor({}, local);
    const wrong = await ask(authenticator, { username: 'bob', password: 'x' });
    const unknown = await ask(authenticator, { username: 'nobody', password: 'x' });
    const unreadable = await ask(authenticator, { username: 'carol', password: 'x' });
    assert.ok(wrong.kind === 'denied' && unknown.kind === 'denied' && unreadable.kind === 'denied');
    assert.deepEqual(
      [wrong.reason, unknown.reason, unreadable.reason],
      ['bad-password', 'unknown-user', 'bad-password'],
    );
    assert.equal(new Set([wrong.message, unknown.message, unreadable.message]).size, 1);
    assert.deepEqual(hashes, [38_912, 38_912, 38_912]);
  });

  test('a user whose hash can not be read does not get in by a decoy', async () => {
    const local = new LocalProvider({ ...providerOptions(), verify: async () => true });
    const authenticator = authenticatorFor({}, local);
    assert.equal(reasonOf(await ask(authenticator, { username: 'carol', password: 'x' })), 'bad-password');
    assert.equal(reasonOf(await ask(authenticator, { username: 'nobody', password: 'x' })), 'unknown-user');
  });

  test('names are compared byte for byte', async () => {
    const authenticator = authenticatorFor({});
    for (const username of ['Alice', 'alice ', 'ａlice', 'toString', '__proto__', 'x'.repeat(60_000)]) {
      assert.equal(reasonOf(await ask(authenticator, { username, password: 'pä$$:word' })), 'unknown-user');
    }
  });

  test('[C81] an answer to a challenge nobody posed is refused', async () => {
    const authenticator = authenticatorFor({});
    const password = challenge('hunter2', '');
    assert.equal(reasonOf(await ask(authenticator, { username: 'bob', password })), 'unexpected-challenge-answer');
  });

  test('[P85] the answer to a dynamic challenge nobody posed is refused each time, and leaves nothing behind', async () => {
    for (const mfa of [false, true]) {
      const local = new LocalProvider(providerOptions());
      const authenticator = authenticatorFor({ mfa }, local);
      for (const state of ['never-issued', 'never-issued', '']) {
        const answer = { username: 'bob', password: `CRV1::${state}::hunter2` };
        assert.equal((await ask(authenticator, answer)).kind, 'denied', answer.password);
      }
      assert.deepEqual(local.usedTotpSteps(), []);
      if (!mfa) assert.equal((await ask(authenticator, { username: 'bob', password: 'hunter2' })).kind, 'granted');
    }
  });

  test('[C80] with MFA the right code is asked for, and good once', async () => {
    const local = new LocalProvider(providerOptions());
    const authenticator = authenticatorFor({ mfa: true }, local);
    const code = totpCode(SECRET, totpStep(now));
    const login = (password: string) => ask(authenticator, { username: 'alice', password });
    assert.equal(reasonOf(await login('pä$$:word')), 'missing-code');
    assert.equal(reasonOf(await login(challenge('pä$$:word', '000000x'))), 'bad-code');
    assert.equal(reasonOf(await login(challenge('wrong', code))), 'bad-password');
    assert.equal(reasonOf(await login(challenge('pä$$:word', code))), 'granted');
    assert.equal(reasonOf(await login(challenge('pä$$:word', code))), 'bad-code');
    const bob = await ask(authenticator, { username: 'bob', password: challenge('hunter2', code) });
    assert.equal(reasonOf(bob), 'no-totp-secret');
    assert.deepEqual(local.usedTotpSteps(), [{ user: 'alice', step: totpStep(now) }]);

    const restarted = new LocalProvider({ ...providerOptions(), usedTotpSteps: local.usedTotpSteps() });
    const again = authenticatorFor({ mfa: true }, restarted);
    assert.equal(reasonOf(await ask(again, { username: 'alice', password: challenge('pä$$:word', code) })), 'bad-code');
    now += 120_000;
    assert.deepEqual(restarted.usedTotpSteps(), []);
    const ahead = { user: 'alice', step: totpStep(now) + 120 };
    const usedTotpSteps = [ahead, { user: 'bob', step: Number.MAX_SAFE_INTEGER }];
    assert.deepEqual(new LocalProvider({ ...providerOptions(), usedTotpSteps }).usedTotpSteps(), [ahead]);
  });

  test('a code spent before the clock was set back by a day keeps nobody out', async () => {
    const authenticator = authenticatorFor({ mfa: true });
    const logIn = () =>
      ask(authenticator, { username: 'alice', password: challenge('pä$$:word', totpCode(SECRET, totpStep(now))) });
    assert.equal(reasonOf(await logIn()), 'granted');
    now -= 86_400_000;
    assert.equal(reasonOf(await logIn()), 'granted');
    assert.equal(reasonOf(await logIn()), 'bad-code');
  });

  test('[C80] a code lets in only once it is written down, and not a user who is gone by then', async () => {
    const waits: (() => void)[] = [];
    const told = Promise.withResolvers<void>();
    const onTotpUsed = () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      waits.push(resolve);
      told.resolve();
      return promise;
    };
    const local = new LocalProvider({ ...providerOptions(), onTotpUsed });
    const authenticator = authenticatorFor({ mfa: true }, local);
    const password = challenge('pä$$:word', totpCode(SECRET, totpStep(now)));
    const login = ask(authenticator, { username: 'alice', password });
    await told.promise;
    assert.deepEqual(local.usedTotpSteps(), [{ user: 'alice', step: totpStep(now) }]);
    assert.equal(await Promise.race([login, Promise.resolve('still waiting')]), 'still waiting');
    authenticator.reconfigure(configFor({ mfa: true, users: [] }));
    for (const kept of waits) kept();
    assert.equal(reasonOf(await login), 'user-changed');
  });

  test('a code spent by two logins at once lets one in', async () => {
    const authenticator = authenticatorFor({ mfa: true });
    const password = challenge('pä$$:word', totpCode(SECRET, totpStep(now)));
    const verdicts = await Promise.all([1, 2, 3].map(() => ask(authenticator, { username: 'alice', password })));
    assert.equal(verdicts.filter(({ kind }) => kind === 'granted').length, 1);
  });

  test('a token stands for password and code, with the groups of now, until the account changes', async () => {
    const local = new LocalProvider(providerOptions());
    const authenticator = authenticatorFor({ mfa: true }, local);
    const password = challenge('pä$$:word', totpCode(SECRET, totpStep(now)));
    const first = await ask(authenticator, { username: 'alice', password });
    assert.ok(first.kind === 'granted' && first.authToken !== null);
    const renew = () => ask(authenticator, { purpose: 'renewal', username: 'alice', password: first.authToken ?? '' });
    assert.equal(reasonOf(await renew()), 'granted');

    const changed = (fields: Partial<LocalUser>) =>
      users.map((user) => (user.name === 'alice' ? { ...user, ...fields } : user));
    authenticator.reconfigure(configFor({ mfa: true, users: changed({ groups: ['guests'] }) }));
    const renewed = await renew();
    assert.ok(renewed.kind === 'granted');
    assert.deepEqual(renewed.identity.groups, ['guests']);

    authenticator.reconfigure(configFor({ mfa: true, users: changed({ passwordHash: users[1].passwordHash }) }));
    const after = await renew();
    assert.ok(after.kind === 'denied');
    assert.equal(after.reason, 'token-not-accepted');
    assert.match(after.message, /^SESSION:/);
    authenticator.reconfigure(configFor({ mfa: false }));
    assert.equal(reasonOf(await renew()), 'token-not-accepted');
    authenticator.reconfigure(configFor({ mfa: true, users: [] }));
    assert.equal(reasonOf(await renew()), 'token-not-accepted');
    authenticator.reconfigure(configFor({ mfa: true }));
    assert.equal(reasonOf(await renew()), 'granted');
    const other = await ask(authenticator, { username: 'bob', password: first.authToken });
    assert.equal(reasonOf(other), 'token-not-accepted');
    const late = await ask(authenticator, { username: 'alice', password: `${first.authToken}!` });
    assert.equal(reasonOf(late), 'token-not-accepted');
  });

  test('a token is of no use with another certificate, or without one', async () => {
    const both = authenticatorFor({ mutual: true });
    const other = await mint({ commonName: 'other-laptop', issuer: authority, usages: [CLIENT_AUTH], serial: '0a0c' });
    const first = await ask(both, { ...withCertificate(alice), username: 'bob', password: 'hunter2' });
    assert.ok(first.kind === 'granted' && first.authToken !== null);
    const again = { username: 'bob', password: first.authToken };
    assert.equal(reasonOf(await ask(both, { ...withCertificate(alice), ...again })), 'granted');
    assert.equal(reasonOf(await ask(both, { ...withCertificate(other), ...again })), 'token-not-accepted');
    assert.equal(reasonOf(await ask(authenticatorFor({}), again)), 'token-not-accepted');
  });

  test('a user removed while the password is checked does not get in', async () => {
    const gate = Promise.withResolvers<boolean>();
    const local = new LocalProvider({ ...providerOptions(), verify: () => gate.promise });
    const authenticator = authenticatorFor({}, local);
    const pending = ask(authenticator, { username: 'bob', password: 'hunter2' });
    authenticator.reconfigure(configFor({ users: [] }));
    gate.resolve(true);
    assert.equal(reasonOf(await pending), 'user-changed');
  });

  test('at most 200 groups count', async () => {
    const groups = Array.from({ length: 250 }, (_, index) => `g${index}`);
    const authenticator = authenticatorFor({ users: [{ ...users[1], groups }] });
    const verdict = await ask(authenticator, { username: 'bob', password: 'hunter2' });
    assert.ok(verdict.kind === 'granted');
    assert.deepEqual(verdict.identity.groups, groups.slice(0, 200));
  });

  test('guessing is refused without a hash, then let in again', async () => {
    const local = new LocalProvider({ ...providerOptions(), verify: async (password) => verified.push(password) < 0 });
    const authenticator = authenticatorFor({}, local);
    const reasons: string[] = [];
    for (let n = 0; n < 20; n += 1)
      reasons.push(reasonOf(await ask(authenticator, { username: 'bob', password: 'x' })));
    assert.equal(reasons.filter((reason) => reason === 'throttled').length, 14);
    assert.equal(verified.length, 6);
    now += 61_000;
    assert.equal(reasonOf(await ask(authenticator, { username: 'bob', password: 'x' })), 'bad-password');
  });

  test('a distributed guess waits before its hash', async () => {
    const local = new LocalProvider({ ...providerOptions(), verify: async () => false });
    const authenticator = authenticatorFor({}, local);
    for (let n = 0; n < 12; n += 1) {
      await ask(authenticator, { username: 'bob', password: 'x', remoteAddress: `203.0.113.${n}` });
    }
    assert.deepEqual(waited, [1000, 2000]);
  });

  test('who knows the password finds no code by asking from many addresses, and is not told that it was right', async () => {
    const authenticator = authenticatorFor({ mfa: true });
    const verdicts: PlainVerdict[] = [];
    for (let n = 0; n < 8; n += 1)
      verdicts.push(
        await ask(authenticator, {
          username: 'alice',
          password: challenge('pä$$:word', '000000x'),
          remoteAddress: `203.0.113.${n}`,
        }),
      );
    assert.deepEqual(verdicts.map(reasonOf), [
      ...Array<string>(6).fill('bad-code'),
      ...Array<string>(2).fill('code-throttled'),
    ]);
    assert.equal(new Set(verdicts.map((verdict) => 'message' in verdict && verdict.message)).size, 1);
  });

  test('more logins than can wait are told to come back', async () => {
    const gate = Promise.withResolvers<boolean>();
    const local = new LocalProvider({ ...providerOptions(), verify: () => gate.promise });
    const authenticator = authenticatorFor({}, local);
    const pending = Array.from({ length: 70 }, (_, n) =>
      ask(authenticator, { username: `user${n}`, password: 'x', remoteAddress: `198.51.100.${n}` }),
    );
    await new Promise(setImmediate);
    assert.equal(local.waiting, 64);
    gate.resolve(false);
    const reasons = (await Promise.all(pending)).map(reasonOf);
    assert.equal(reasons.filter((reason) => reason === 'overloaded').length, 4);
  });

  test('an aborted login is a denial at once', async () => {
    const controller = new AbortController();
    const gate = Promise.withResolvers<boolean>();
    const local = new LocalProvider({ ...providerOptions(), verify: () => gate.promise });
    const authenticator = authenticatorFor({}, local);
    const { signal: aborted } = controller;
    const pending = authenticator.authenticate(request({ username: 'bob', password: 'hunter2' }), { signal: aborted });
    controller.abort();
    gate.resolve(true);
    assert.equal(reasonOf(await pending), 'cancelled');
  });

  suite('with a revocation list', () => {
    const revocationOf = (serials: readonly string[], nextUpdate?: string): RevocationMaterial => {
      const der = revocationListDer({ authority, serials, ...(nextUpdate === undefined ? {} : { nextUpdate }) });
      const { material } = readRevocationList(der, authority.certificatePem, now);
      assert.ok(material !== null);
      return { kind: 'List', lists: [material] };
    };
    const ending = async (revocation: RevocationMaterial, purpose: 'login' | 'renewal'): Promise<string> =>
      reasonOf(
        await ask(authenticatorFor({ mutual: true, local: false, revocation }), { ...withCertificate(alice), purpose }),
      );

    test('[C91] a named serial is refused, others are not', async () => {
      assert.equal(await ending(revocationOf(['0A0B', '01']), 'login'), 'certificate-revoked');
      assert.equal(await ending(revocationOf(['0A0B']), 'renewal'), 'certificate-revoked');
      assert.equal(await ending(revocationOf(['0A0C', '01']), 'login'), 'granted');
    });

    test('[C92] an expired or unusable list refuses logins, and lets the connected renew', async () => {
      const expired = revocationOf(['01'], '20260101000000Z');
      assert.equal(await ending(expired, 'login'), 'revocation-list-expired');
      assert.equal(await ending(expired, 'renewal'), 'granted');
      assert.equal(await ending(revocationOf(['0A0B'], '20260101000000Z'), 'renewal'), 'certificate-revoked');
      const unusable: RevocationMaterial = { kind: 'Unusable', reason: 'BadSignature' };
      assert.equal(await ending(unusable, 'login'), 'revocation-list-unusable');
      assert.equal(await ending(unusable, 'renewal'), 'granted');
    });

    test('a chain whose issuer is not shown is refused while a list is configured', async () => {
      const authenticator = authenticatorFor({ mutual: true, local: false, revocation: revocationOf(['01']) });
      const certificate = { chain: [derOfPem(alice.certificatePem)], authorizationError: null };
      assert.equal(reasonOf(await ask(authenticator, { certificate })), 'certificate-issuer-unseen');
      authenticator.reconfigure(configFor({ mutual: true, local: false }));
      assert.equal(reasonOf(await ask(authenticator, { certificate })), 'granted');
    });
  });
});
