import assert from 'node:assert/strict';
import { suite, test, type TestContext } from 'node:test';
import { InternalError } from '../../../../net/errors.ts';
import { LocalProvider } from '../../../../dataplane/auth/local-provider.ts';
import { createLogger } from '../../../../dataplane/io/logger.ts';
import { SignedLoginTokens } from '../../../../dataplane/io/login-tokens.ts';
import { Observers } from '../../../../dataplane/io/observers.ts';
import type { EngineStats } from '../../../../dataplane/sessions/engine.ts';
import type { ConnectionFacts } from '../../../../dataplane/sessions/engine-io.ts';
import { sumCounters } from '../../../../dataplane/io/tunnel-counters.ts';
import { DropReason } from '../../../../dataplane/tunnel/drop-reason.ts';
import { Counter, THREAD_COUNTER_BYTES, ThreadCounters } from '../../../../dataplane/tunnel/thread-counters.ts';
import { mint } from '../../../support/certificates.ts';
import { ATTEMPT } from '../../../support/connection-facts.ts';
import { dataPlaneConfig } from '../../../support/data-plane-configs.ts';
import { memorySink } from '../../../support/memory-sink.ts';

const FACTS: ConnectionFacts = {
  ...ATTEMPT,
  peerId: 0,
  generation: 1,
  clientIp: '10.100.0.2',
  cipher: 'AES-256-GCM',
};
const WHO = { connectionId: FACTS.connectionId, username: 'alice', commonName: 'laptop', remote: FACTS.remote };

const IDLE: EngineStats = {
  connected: 0,
  opening: 0,
  waiting: 0,
  addressesUsed: 0,
  addressesTotal: 0,
  endedRemembered: 0,
  failedRemembered: 0,
  handshakeBytes: 0,
  drops: new Map(),
};

/** Observers of an endpoint where alice and bob log in. `lines` leaves out what ordinary lines have. */
function observersFor(
  t: TestContext,
  {
    mutual = true,
    thread,
    serverCertificatePem,
  }: { mutual?: boolean; thread?: ThreadCounters; serverCertificatePem?: string } = {},
) {
  const { sink, lines } = memorySink();
  const tokens = new SignedLoginTokens({ now: Date.now, key: new Uint8Array(32), lifetimeS: 1 });
  const local = new LocalProvider({ now: Date.now, tokens, usedTotpSteps: [] });
  const users = ['alice', 'bob'].map((name) => ({ name, passwordHash: '', groups: [] }));
  local.setUsers(users, 'none');
  const observers = new Observers({
    log: createLogger({ level: 'info', sink }),
    sink,
    engine: { stats: () => IDLE },
    tunnel: { counters: () => sumCounters([], thread === undefined ? [] : [thread], []) },
    local,
    openingsRefused: () => 0,
    queueDrops: () => 0,
    config: dataPlaneConfig({
      snapshot: { authentication: { mutual, identityProvider: { name: 'staff', type: 'Local', mfa: null } } },
      users,
      serverCertificatePem,
    }),
  });
  t.after(() => observers.close());
  const shortened = ({ time: _time, level, ...rest }: Record<string, unknown>): Record<string, unknown> =>
    level === 'info' ? rest : { ...rest, level };
  return { observers, lines: async () => (await lines()).map(shortened) };
}

suite('Log lines of connections', () => {
  test('a beginning and an end say who it was and from where', async (t) => {
    const { observers, lines } = observersFor(t);
    observers.onEvent({ kind: 'connected', connection: FACTS });
    observers.onEvent({
      kind: 'disconnected',
      connection: FACTS,
      reason: 'terminated',
      establishedMs: 0,
      endedMs: 1,
      traffic: null,
    });
    assert.deepEqual(await lines(), [
      { ...WHO, transport: 'udp', msg: 'Connected' },
      { ...WHO, reason: 'terminated', msg: 'Disconnected' },
    ]);
  });

  test('a name that is not there is left out', async (t) => {
    const { observers, lines } = observersFor(t);
    observers.onEvent({ kind: 'connected', connection: { ...FACTS, commonName: '' } });
    const [line] = await lines();
    assert.deepEqual(Object.keys(line), ['connectionId', 'username', 'remote', 'transport', 'msg']);
  });

  test('a refused login names its user only if there is such a user: it may be a password', async (t) => {
    const { observers, lines } = observersFor(t);
    for (const username of ['alice', 'hunter2', 'Alice', ''])
      observers.onEvent({
        kind: 'connectionAttemptFailed',
        connection: { ...ATTEMPT, username },
        reason: 'bad-password',
        isTemporary: false,
      });
    observers.onEvent({ kind: 'connectionAttemptChallenged', connection: { ...ATTEMPT, username: 'hunter2' } });
    const { username: _, ...unnamed } = WHO;
    const refused = { reason: 'bad-password', msg: 'Refused login' };
    assert.deepEqual(await lines(), [
      { ...WHO, ...refused },
      ...Array.from({ length: 3 }, () => ({ ...unnamed, ...refused })),
      { ...unnamed, msg: 'Challenged login' },
    ]);
  });

  test('a certificate that nobody asked for and nobody verified names no one', async (t) => {
    const { observers, lines } = observersFor(t, { mutual: false });
    observers.onEvent({
      kind: 'connectionAttemptFailed',
      connection: ATTEMPT,
      reason: 'throttled',
      isTemporary: false,
    });
    const [line] = await lines();
    assert.equal(line['username'], 'alice');
    assert.equal('commonName' in line, false);
  });

  test('refused logins do not fill the log, whoever else connects is told all the same', async (t) => {
    t.mock.timers.enable({ apis: ['Date'] });
    const { observers, lines } = observersFor(t);
    const refuse = (): void =>
      observers.onEvent({
        kind: 'connectionAttemptFailed',
        connection: ATTEMPT,
        reason: 'bad-password',
        isTemporary: false,
      });
    for (let n = 0; n < 1000; n += 1) refuse();
    observers.onEvent({ kind: 'connected', connection: FACTS });
    const told = await lines();
    assert.equal(told.length, 11);
    assert.equal(told.at(-1)?.['msg'], 'Connected');
    t.mock.timers.tick(1000);
    refuse();
    assert.deepEqual(
      (await lines()).map(({ suppressed }) => suppressed),
      [990],
    );
  });
});

test('a TCP connection that is turned away counts once, as a refused start', async (t) => {
  const thread = new ThreadCounters(new SharedArrayBuffer(THREAD_COUNTER_BYTES));
  const { certificatePem } = await mint({ commonName: 'gateway' });
  const { observers } = observersFor(t, { thread, serverCertificatePem: certificatePem });
  thread.count(Counter.TcpRefused);
  observers.onEvent({ kind: 'refused', remote: 'unknown', reason: 'no-descriptor-left', count: 1 });
  const { text } = await observers.metrics.exposition();
  const counted = text.split('\n').filter((line) => /^clientvpn_(drops|session_starts).* [^0]/.test(line));
  assert.deepEqual(
    counted.map((line) => /^clientvpn_(\w+).*reason="([^"]*)"/.exec(line)?.slice(1, 3)),
    [['session_starts_refused_total', 'no-descriptor-left']],
  );
});

test('a fault of the engine counts by its input and is an error in the log, where a flood of them is held back', async (t) => {
  const { certificatePem } = await mint({ commonName: 'gateway' });
  const { observers, lines } = observersFor(t, { serverCertificatePem: certificatePem });
  for (let n = 0; n < 1000; n += 1) observers.onFault(new InternalError('broken invariant'), 'deadline');
  const { text } = await observers.metrics.exposition();
  assert.match(text, /^clientvpn_engine_faults_total\{input="deadline",.*\} 1000$/m);
  const told = await lines();
  assert.equal(told.length, 10);
  assert.equal(told[0]?.['input'], 'deadline');
  assert.match(String(told[0]?.['stack']), /^InternalError: broken invariant\n/);
  assert.deepEqual(new Set(told.map(({ level }) => level)), new Set(['error']));
});

test('a login that a bug refused is an error in the log that says what broke', async (t) => {
  const { observers, lines } = observersFor(t);
  observers.onLoginFault({ name: 'RangeError', message: 'memory limit exceeded' });
  assert.deepEqual(await lines(), [
    { level: 'error', error: 'RangeError', cause: 'memory limit exceeded', msg: 'Login fault' },
  ]);
});

test('every label of what is counted elsewhere is spelt the same way', async (t) => {
  const thread = new ThreadCounters(new SharedArrayBuffer(THREAD_COUNTER_BYTES));
  const { certificatePem } = await mint({ commonName: 'gateway' });
  const { observers } = observersFor(t, { thread, serverCertificatePem: certificatePem });
  for (const reason of Object.values(DropReason)) thread.drop(reason);
  observers.onFault(new InternalError('broken invariant'), 'tlsPlaintext');
  const { text } = await observers.metrics.exposition();
  const labels = [...text.matchAll(/[{,](reason|stage|input)="([^"]*)"[^}]*\} (\d+)/g)];
  assert.deepEqual(
    labels.map(([, , value = '']) => value).filter((value) => !/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(value)),
    [],
  );
  for (const label of ['stage="tun-read"', 'input="tls-plaintext"']) assert.ok(text.includes(label), label);
  const counted = labels
    .filter(([, label, , count]) => label === 'reason' && count === '1')
    .map(([, , value]) => value);
  assert.equal(counted.length, Object.keys(DropReason).length);
  assert.ok(counted.includes('tcp-queue-full') && counted.includes('data-replayed'));
});
