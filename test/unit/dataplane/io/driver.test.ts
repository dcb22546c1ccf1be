import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Driver, type DriverParts } from '../../../../dataplane/io/driver.ts';
import type { Instant, Output, Remote } from '../../../../dataplane/sessions/engine-io.ts';
import { dataPlaneConfig } from '../../../support/data-plane-configs.ts';

const REMOTE: Remote = {
  kind: 'tcp',
  key: 'tcp/1',
  address: '192.0.2.1',
  port: 1,
  connection: 1,
};

/** A driver of an engine that answers the next input with `outputs`, or throws. What was done is in `done`. */
function driverOf(answer: () => readonly Output[]) {
  const done: string[] = [];
  const faults: { readonly input: string; readonly message: string }[] = [];
  const unused = (): never => assert.fail('not part of this test');
  const parts: DriverParts = {
    addon: { monotonicMs: () => 0, formatAddress: unused },
    engine: { handle: answer, nextDeadline: () => Infinity as Instant, connections: () => [], drained: () => true },
    tunnel: {
      slots: 1,
      onNotification: () => undefined,
      transmitTcp: (connection) => void done.push(`transmit to ${connection}`),
      closeTcp: (connection) => void done.push(`close ${connection}`),
      deletePeer: (peerId) => {
        throw new Error(`no peer ${peerId}`);
      },
      deliverData: unused,
      policyEnforced: unused,
      traffic: unused,
      newPeer: unused,
      setRemote: unused,
      setGroups: unused,
      newKey: unused,
      swapKeys: unused,
      deleteKey: unused,
      setPolicy: unused,
    },
    tls: {
      open: () => {
        throw new Error('no memory for TLS');
      },
      input: unused,
      write: unused,
      close: (tls) => void done.push(`close TLS ${tls}`),
    },
    authenticator: { authenticate: unused, reconfigure: unused },
    control: null,
    onEvent: (event) => void done.push(event.kind),
    onLogin: unused,
    onFault: (error, input) => void faults.push({ input, message: (error as Error).message }),
  };
  return { driver: new Driver(parts), done, faults };
}

suite('A fault', () => {
  const outputs: readonly Output[] = [
    { kind: 'dataChannel', command: { verb: 'deletePeer', peerId: 7 } },
    { kind: 'transmit', remote: REMOTE, bytes: new Uint8Array(1) },
    { kind: 'tlsStart', tls: 3 },
    { kind: 'tlsClose', tls: 2 },
    { kind: 'event', event: { kind: 'drained' } },
  ];
  const rest = ['transmit to 1', 'close TLS 2', 'drained'];

  test('in one output costs no other: each is reported, the rest is carried out', () => {
    const { driver, done, faults } = driverOf(() => outputs);
    driver.feed({ kind: 'terminate', connectionId: '' });
    assert.deepEqual(done, rest);
    assert.deepEqual(faults, [
      { input: 'terminate', message: 'no peer 7' },
      { input: 'terminate', message: 'no memory for TLS' },
    ]);
  });

  test('in the engine ends with its input: the next is handled', () => {
    let answer = (): readonly Output[] => {
      throw new Error('broken invariant');
    };
    const { driver, done, faults } = driverOf(() => answer());
    driver.feed({ kind: 'deadline' });
    assert.deepEqual(faults, [{ input: 'deadline', message: 'broken invariant' }]);
    answer = () => [{ kind: 'closeTransport', remote: REMOTE }];
    driver.feed({ kind: 'deadline' });
    assert.deepEqual(done, ['close 1']);
    assert.equal(faults.length, 1);
  });

  test('while a configuration is taken up refuses it, as it may not be enforced, and costs no other output', () => {
    const { driver, done, faults } = driverOf(() => outputs);
    assert.throws(() => driver.configure(dataPlaneConfig()), /no peer 7/);
    assert.deepEqual(done, rest);
    assert.deepEqual(
      faults.map(({ input }) => input),
      ['configChanged', 'configChanged'],
    );
  });
});
