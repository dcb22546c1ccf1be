import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { LoginThrottle, type Attempt } from '../../../../dataplane/auth/throttle.ts';

const MINUTE = 60_000;

function attempt(username: string, remoteAddress: string, certificateFingerprint: string | null = null): Attempt {
  return { username, remoteAddress, certificateFingerprint };
}

/** Tries once a second; how many of `tries` were looked at. */
function guess(
  throttle: LoginThrottle,
  options: { user: (n: number) => string; from: (n: number) => string; tries: number; at?: number },
): number {
  let admitted = 0;
  for (let n = 0; n < options.tries; n += 1) {
    const verdict = throttle.admit(attempt(options.user(n), options.from(n)), (options.at ?? 0) + n * 1000);
    if (verdict.kind === 'admitted') admitted += 1;
  }
  return admitted;
}

function logIn(throttle: LoginThrottle, user: string, from: string, now: number): number | 'refused' {
  const verdict = throttle.admit(attempt(user, from), now);
  if (verdict.kind === 'refused') return 'refused';
  throttle.succeeded(attempt(user, from), verdict);
  return verdict.delayMs;
}

suite('Login throttle', () => {
  test('one address guessing one password gets a handful, then two a minute', () => {
    const throttle = new LoginThrottle();
    const admitted = guess(throttle, { user: () => 'alice', from: () => '192.0.2.1', tries: 3600 });
    assert.ok(admitted > 50 && admitted < 140, `${admitted} in an hour`);
  });

  test('one address trying many users is slowed as well', () => {
    const throttle = new LoginThrottle();
    const admitted = guess(throttle, { user: (n) => `user${n}`, from: () => '192.0.2.1', tries: 3600 });
    assert.ok(admitted < 160, `${admitted} in an hour`);
  });

  test('a stranger does not lock a user out, from the same address or from a thousand', () => {
    const throttle = new LoginThrottle();
    assert.equal(logIn(throttle, 'alice', '198.51.100.7', 0), 0);
    guess(throttle, { user: () => 'alice', from: (n) => `203.0.113.${n % 250}`, tries: 5000 });
    guess(throttle, { user: (n) => `user${n}`, from: () => '198.51.100.7', tries: 500, at: 5_000_000 });
    assert.equal(logIn(throttle, 'alice', '198.51.100.7', 5_500_000), 0);
    const elsewhere = logIn(throttle, 'alice', '192.0.2.99', 5_500_000);
    assert.ok(typeof elsewhere === 'number' && elsewhere <= 8_000, String(elsewhere));
  });

  test('tries from many addresses wait longer and longer, up to 8 s', () => {
    const throttle = new LoginThrottle();
    const delays = Array.from({ length: 20 }, (_, n) => {
      const verdict = throttle.admit(attempt('alice', `203.0.113.${n}`), 0);
      return verdict.kind === 'admitted' ? verdict.delayMs : -1;
    });
    assert.deepEqual(delays.slice(0, 10), Array<number>(10).fill(0));
    assert.deepEqual(delays.slice(10), [1000, 2000, 4000, 8000, 8000, 8000, 8000, 8000, 8000, 8000]);
  });

  test('tries side by side are charged before any has failed', () => {
    const throttle = new LoginThrottle();
    const verdicts = Array.from({ length: 50 }, () => throttle.admit(attempt('alice', '192.0.2.1'), 0).kind);
    assert.equal(verdicts.filter((kind) => kind === 'admitted').length, 6);
  });

  test('success clears the pair, and a quarter of an hour forgets everything', () => {
    const throttle = new LoginThrottle();
    for (let n = 0; n < 4; n += 1) throttle.admit(attempt('alice', '192.0.2.1'), 0);
    assert.equal(logIn(throttle, 'alice', '192.0.2.1', 1), 0);
    for (let n = 0; n < 5; n += 1) assert.equal(throttle.admit(attempt('alice', '192.0.2.1'), 2).kind, 'admitted');
    guess(throttle, { user: () => 'bob', from: () => '192.0.2.2', tries: 600 });
    const later = 600_000 + 15 * MINUTE;
    for (let n = 0; n < 5; n += 1) assert.equal(throttle.admit(attempt('bob', '192.0.2.2'), later).kind, 'admitted');
  });

  test("one's own account does not wash off failures against others", () => {
    const throttle = new LoginThrottle();
    let admitted = 0;
    for (let n = 0; n < 1000; n += 1) {
      logIn(throttle, 'mallory', '192.0.2.1', n * 1000);
      if (throttle.admit(attempt(`victim${n}`, '192.0.2.1'), n * 1000).kind === 'admitted') admitted += 1;
    }
    assert.ok(admitted < 60, `${admitted} in 1,000 s`);
  });

  test('a try that was not looked at costs nothing', () => {
    const throttle = new LoginThrottle();
    for (let n = 0; n < 100; n += 1) {
      const verdict = throttle.admit(attempt('alice', '192.0.2.1'), 0);
      assert.ok(verdict.kind === 'admitted');
      assert.equal(verdict.delayMs, 0);
      throttle.notTried(attempt('alice', '192.0.2.1'), verdict);
    }
  });

  test('a clock that is set back by a day prolongs no pause', () => {
    const throttle = new LoginThrottle();
    const now = Date.UTC(2026, 0, 2);
    guess(throttle, { user: () => 'alice', from: () => '192.0.2.1', tries: 30, at: now });
    assert.equal(logIn(throttle, 'alice', '192.0.2.1', now + 30_000), 'refused');
    const yesterday = now - 24 * 60 * MINUTE;
    assert.equal(logIn(throttle, 'alice', '192.0.2.1', yesterday), 'refused');
    assert.notEqual(logIn(throttle, 'alice', '192.0.2.1', yesterday + 2 * MINUTE), 'refused');
  });

  test('a site with 65,536 networks of IPv6 tries no more users than one address does', () => {
    const throttle = new LoginThrottle();
    const admitted = guess(throttle, {
      user: (n) => `user${n}`,
      from: (n) => `2001:db8:7:${(n % 65_536).toString(16)}::${n % 7}`,
      tries: 3600,
    });
    assert.ok(admitted < 160, `${admitted} in an hour`);
  });

  test('a neighbour in the same IPv6 network pauses nobody else’s login', () => {
    const throttle = new LoginThrottle();
    assert.equal(logIn(throttle, 'alice', '2001:db8:7:1::5', 0), 0);
    guess(throttle, { user: () => 'alice', from: () => '2001:db8:7:2::5', tries: 600 });
    assert.equal(logIn(throttle, 'alice', '2001:db8:7:1::6', 600_000), 0);
  });

  test('who shows a certificate of their own pauses nobody behind the same address', () => {
    const throttle = new LoginThrottle();
    for (let n = 0; n < 60; n += 1) throttle.admit(attempt('alice', '192.0.2.1', 'MALLORY'), n * 1000);
    assert.equal(throttle.admit(attempt('alice', '192.0.2.1', 'MALLORY'), 60_000).kind, 'refused');
    const own = attempt('alice', '192.0.2.1', 'ALICE');
    const verdict = throttle.admit(own, 60_000);
    assert.ok(verdict.kind === 'admitted');
    throttle.succeeded(own, verdict);
    assert.deepEqual(throttle.admit(own, 61_000), { kind: 'admitted', delayMs: 0, familiar: true });
  });

  test('codes are guessed slowly from however many addresses, and not at the cost of a familiar place', () => {
    const throttle = new LoginThrottle();
    const tryCode = (from: string, now: number): boolean => {
      const who = attempt('alice', from);
      const verdict = throttle.admit(who, now);
      return verdict.kind === 'admitted' && throttle.admitCode(who, verdict, now);
    };
    assert.equal(logIn(throttle, 'alice', '198.51.100.7', 0), 0);
    let looked = 0;
    for (let n = 0; n < 36_000; n += 1) if (tryCode(`10.${(n >> 8) & 255}.${n & 255}.1`, n * 100)) looked += 1;
    assert.ok(looked > 50 && looked < 140, `${looked} of 36,000 in an hour`);
    assert.equal(tryCode('198.51.100.7', 3_600_000), true);
  });
});
