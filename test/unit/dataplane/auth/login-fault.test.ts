import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { LocalProvider } from '../../../../dataplane/auth/local-provider.ts';
import { LoginAuthenticator } from '../../../../dataplane/auth/login-authenticator.ts';
import { loginFaultOf, type LoginFault } from '../../../../dataplane/auth/login-fault.ts';
import { InternalError } from '../../../../net/errors.ts';
import { dataPlaneConfig } from '../../../support/data-plane-configs.ts';

const WITHHELD = '[withheld: it may repeat what the client sent]';

suite('What broke while a login was judged is told', () => {
  const sent = { username: 'malory', password: 'hunter2' };

  test('with the name and the message of the error', () => {
    const fault = loginFaultOf(new InternalError('scrypt: memory limit exceeded'), sent);
    assert.deepEqual(fault, { name: 'InternalError', message: 'scrypt: memory limit exceeded' });
    assert.equal(loginFaultOf(new Error('out of range'), { username: '', password: '' }).message, 'out of range');
  });

  test('without a message that repeats a user name or password, or a piece of one', () => {
    for (const message of ['at "nter"…', 'no user malory', 'hunt', 'Unexpected token h in hunter2'])
      assert.deepEqual(loginFaultOf(new RangeError(message), sent), { name: 'RangeError', message: WITHHELD }, message);
    assert.equal(loginFaultOf(new Error('bad é'), { username: '', password: 'é' }).message, WITHHELD);
  });

  test('without a message that repeats what the password field had encoded', () => {
    const [password, code] = ['hunter2', '123456'].map((text) => Buffer.from(text).toString('base64'));
    for (const message of ['unter', 'code 1234']) {
      const fault = loginFaultOf(new Error(message), { username: '', password: `SCRV1:${password}:${code}` });
      assert.equal(fault.message, WITHHELD, message);
    }
  });

  test('also when what was thrown is no error', () => {
    assert.deepEqual(loginFaultOf('hunter2', sent), { name: 'string', message: WITHHELD });
  });
});

test('an error inside is a denial that tells the client nothing, and is reported', async () => {
  const faults: LoginFault[] = [];
  const local = new LocalProvider({
    now: Date.now,
    tokens: { issue: () => 'token', check: () => 'foreign' },
    usedTotpSteps: [],
    verify: () => Promise.reject(new TypeError('hunter2')),
  });
  const authenticator = new LoginAuthenticator({ now: Date.now, local, onFault: (fault) => void faults.push(fault) });
  const identityProvider = { name: 'staff', type: 'Local', mfa: null } as const;
  authenticator.reconfigure(dataPlaneConfig({ snapshot: { authentication: { mutual: false, identityProvider } } }));
  const verdict = await authenticator.authenticate(
    {
      requestId: 1,
      purpose: 'login',
      remoteAddress: '192.0.2.1',
      certificate: null,
      username: 'bob',
      password: 'hunter2',
      prompts: [],
    },
    { signal: new AbortController().signal },
  );
  assert.ok(verdict.kind === 'denied');
  assert.equal(verdict.reason, 'internal-error');
  assert.ok(!JSON.stringify(verdict).includes('hunter2'));
  assert.deepEqual(faults, [{ name: 'TypeError', message: WITHHELD }]);
});
