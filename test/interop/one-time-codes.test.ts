import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpoint, rule, targetNetwork, users, yamlOf } from '../support/manifests.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { totpCode } from '../support/totp.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const SECRET = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP';
const ALICE = { name: 'alice', password: 'of alice', totpSecret: SECRET };

for (const signal of ['SIGTERM', 'SIGKILL'] as const)
  test(`[C80] a one-time code is good once, also over a restart after ${signal}`, { skip }, async (t) => {
    const world = await World.create(t, {
      manifests: {
        'all.yaml': yamlOf(endpoint({ local: 'staff' }), targetNetwork(), rule('192.168.0.0/24')),
        'users.yaml': yamlOf(...users('staff', [ALICE], true)),
      },
    });
    const code = totpCode(SECRET, Date.now());
    const credentials = { username: 'alice', password: ALICE.password, code: () => code };
    const client = await world.connect({ certificate: null, credentials });
    client.signal('SIGKILL');
    await client.exited();

    world.gateway.signal(signal);
    await world.gateway.exited();
    await world.gateway.start();
    const replay = world.client({ certificate: null, credentials });
    await replay.refused();
    await replay.exited();
    // The next step's code is accepted early, for clocks that differ.
    const fresh = { ...credentials, code: () => totpCode(SECRET, Date.now(), 1) };
    await world.connect({ certificate: null, credentials: fresh });
    assert.equal(world.gateway.connections().filter(({ status }) => status === 'active').length, 1);
  });
