// Each example that is a set of its own, applied as it is, with what its README says tried by a real client.
// The sets of restrict-by-group are tried in scenarios.test.ts.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { endpointIn, EXAMPLES, exampleNames, manifestsOf, rowsOf } from '../support/examples.ts';
import { TRANSLATED_ADDRESS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import type { StockClient } from '../support/stock-client.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

for (const name of exampleNames()) {
  test(`examples/${name} gives a real client what its README says`, { skip }, async (t) => {
    const manifests = manifestsOf(join(EXAMPLES, name));
    const isMeeting = name === 'client-to-client';
    const world = await World.create(t, { manifests, clients: isMeeting ? 2 : 1 });
    const connect = (index: number): Promise<StockClient> => {
      const profile = world.gateway.clientConfig({ endpoint: endpointIn(manifests), client: `client-${index}` });
      return world.connect({ index, profile });
    };
    await connect(0);
    const rows = rowsOf(readFileSync(join(EXAMPLES, name, 'README.md'), 'utf8'));
    const elsewhere = rows.filter(({ decidedBy }) => !decidedBy.startsWith('route clients'));
    assert.equal(elsewhere.length < rows.length, isMeeting);
    world.lab.target.ip(...elsewhere.map(({ to }) => `addr add ${to}/32 dev lan0`));
    for (const { to, answer } of elsewhere) {
      const { error, seenAs } = await world.agent().fetch(to);
      assert.equal(error === null, answer === 'allowed', `${to}: ${error}`);
      if (answer === 'allowed') assert.equal(seenAs, TRANSLATED_ADDRESS, to);
    }
    if (!isMeeting) return;
    const other = await connect(1);
    assert.ok(world.lab.client().ping(other.tunnelAddress()));
  });
}
