// Profiles of old still ask for compression. No packet is ever compressed, and they work.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

for (const options of [
  ['--comp-lzo', 'no'],
  ['--comp-lzo', 'yes', '--allow-compression', 'yes'],
  ['--compress', 'lz4-v2', '--allow-compression', 'yes'],
  ['--compress', 'stub-v2'],
  ['--compress'],
])
  test(`[P72] traffic of a client with ${options.join(' ')} flows, uncompressed`, { skip }, async (t) => {
    const world = await World.create(t);
    const client = await world.connect({ options });
    const agent = world.agent();
    assert.ok(await agent.reaches(TARGETS.vpc));
    // Text that any compression would shorten, as large as a packet may be.
    assert.ok(await agent.echo(TARGETS.vpc, 1472));
    const pushed = client.log.lines.find((line) => line.includes('PUSH_REPLY')) ?? '';
    t.diagnostic(/comp[^,]*/.exec(pushed)?.[0] ?? 'nothing pushed');
    assert.equal(world.gateway.connections().filter(({ status }) => status === 'active').length, 1);
  });
