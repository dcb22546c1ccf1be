// A gateway on a machine whose firewall belongs to somebody else, such as Docker.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();

test('a firewall that drops what is forwarded is named in log and status, with what helps', { skip }, async (t) => {
  const world = await World.create(t, { started: false });
  const { gateway, lab } = world;
  const nft = (command: string): string => lab.gateway.must('nft', command);
  nft('add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }');
  await gateway.start();
  const line = await gateway.log.waitFor(/"msg":"Clients are cut off"/);
  assert.ok(gateway.log.lines.indexOf(line) < gateway.log.lines.findIndex((one) => one.includes('"msg":"Ready"')));
  await world.connect();
  assert.equal(await world.agent().reaches(TARGETS.vpc), false);
  const [warning = ''] = gateway.status().warnings;
  assert.match(warning, /ip filter FORWARD/);
  assert.match(gateway.must('status', '--state-dir', gateway.stateDir), /Warnings:\n.*ip filter FORWARD/);

  for (const command of warning.split('To let them: ')[1]?.split('; ') ?? []) nft(command.replace(/^nft /, ''));
  assert.ok(await world.agent().reaches(TARGETS.vpc), 'the advice helps');
  await waitFor('the warning to go', () => gateway.status().warnings.length === 0, 15_000);
});
