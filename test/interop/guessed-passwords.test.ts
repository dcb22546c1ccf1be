import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attackGateway, foreignAddresses, giveForeignAddresses } from '../support/attacker.ts';
import { endpoint, rule, targetNetwork, users, yamlOf } from '../support/manifests.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const ALICE = { name: 'alice', password: 'of alice', groups: ['staff'] };
const GUESSERS = 16;

test(
  '[P84] a user whose password is guessed from everywhere waits once, is told to, and gets in',
  { skip },
  async (t) => {
    const world = await World.create(t, {
      clients: 2,
      manifests: {
        'all.yaml': yamlOf(
          endpoint({ local: 'staff' }),
          targetNetwork(),
          rule('192.168.0.0/24', 'staff'),
          ...users('staff', [ALICE]),
        ),
      },
    });
    giveForeignAddresses(world.lab, 1);
    const ca = /<ca>\n([^]*?)<\/ca>/.exec(world.gateway.clientConfig())?.[1] ?? '';
    const sources = foreignAddresses(GUESSERS);
    const { counts } = await attackGateway(world.lab.client(1), {
      kind: 'guess',
      username: 'alice',
      ca,
      sources,
      seconds: 0,
    });
    assert.deepEqual(counts, { AUTH_FAILED: GUESSERS });

    const credentials = { username: 'alice', password: ALICE.password };
    const first = world.client({ certificate: null, credentials });
    await first.log.waitFor(/AUTH_PENDING received/);
    await first.connected();
    assert.ok(await world.agent().reaches(TARGETS.vpc));
    await first.stop();

    // From where somebody has logged in, nobody waits.
    const second = await world.connect({ certificate: null, credentials });
    assert.ok(!second.log.lines.some((line) => line.includes('AUTH_PENDING')));
  },
);
