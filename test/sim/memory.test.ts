import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dataPlaneConfig } from '../support/data-plane-configs.ts';
import { SimulatedWorld } from '../support/simulated-world.ts';

test('who leaves while memory is short makes room for a newcomer, but for a tenth', () => {
  const world = new SimulatedWorld();
  const clients = Array.from({ length: 10 }, (_, index) => world.connect({ name: `user-${index}` }));
  world.feed({ kind: 'memory', isShort: true });
  const leave = (client = clients.pop()): void => {
    client?.handle({ kind: 'controlText', text: 'EXIT' });
    world.advance(10_000);
  };
  const tryToEnter = (name: string): boolean => {
    const client = world.client({ name });
    client.start();
    world.advance(5_000);
    client.isMute = true;
    return client.machine.isConnected;
  };
  leave();
  assert.equal(tryToEnter('too early'), false);
  leave();
  assert.equal(tryToEnter('in time'), true);
  assert.equal(tryToEnter('too late'), false);
});

for (const transport of ['udp', 'tcp'] as const) {
  test(`while memory is short, those who are there stay and renew, and newcomers are refused by name (${transport})`, () => {
    const world = new SimulatedWorld({ config: dataPlaneConfig({ snapshot: { transport } }) });
    const before = world.connect({ name: 'alice', config: { transport } });
    const begun = world.client({ name: 'bob', config: { transport } });
    if (transport === 'tcp') world.feed({ kind: 'transportOpened', remote: begun.remote });
    world.feed({ kind: 'memory', isShort: true });
    const held = world.tls.size;
    const late = world.client({ name: 'carol', config: { transport } });
    late.start();
    if (transport === 'tcp') assert.deepEqual(world.closedTransports, [late.remote], 'before it has said anything');
    if (transport === 'tcp') begun.handle({ kind: 'connect' });
    world.advance(10_000);
    assert.equal(world.tls.size, held, 'nothing is kept for them');
    assert.equal(world.engine.stats().connected, 1);
    const refused = world.eventsOf('refused');
    assert.ok(refused.length > 0 && refused.every(({ reason }) => reason === 'memory-short'));
    if (transport === 'tcp') {
      assert.deepEqual(new Set(refused.map(({ remote }) => remote)).size, 2);
      assert.deepEqual(new Set(world.closedTransports), new Set([begun.remote, late.remote]));
    }
    before.handle({ kind: 'renew' });
    world.advance(15_000);
    assert.deepEqual(
      world.eventsOf('renewed').map(({ keyId }) => keyId),
      [1],
    );
    assert.equal(before.closed, undefined);
    world.feed({ kind: 'memory', isShort: false });
    world.connect({ name: 'dave', config: { transport } });
    assert.equal(world.engine.stats().connected, 2);
  });
}
