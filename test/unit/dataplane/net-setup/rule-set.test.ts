import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  removalScript,
  ruleNames,
  ruleSetScript,
  switchedSetScript,
} from '../../../../dataplane/net-setup/rule-set.ts';
import { skipWithoutNamespaces } from '../../../support/requirements.ts';

const PLAN = {
  table: 'cvpn_0123abcd',
  tun: 'cvpn-0123abcd',
  clientCidr: { address: 0x0a4d0000, length: 22 },
  tunnelAddress: 0x0a4d0001,
  limitsFlows: true,
};
const GOLDEN = join(import.meta.dirname, '../../../golden/net-setup/rule-set.nft');

test('the rule set is the reviewed one', () => {
  const script = ruleSetScript(PLAN, ['eth0', 'lan.7']);
  // GOLDEN_UPDATE=1 writes it anew, for review.
  if (process.env['GOLDEN_UPDATE'] === '1') writeFileSync(GOLDEN, script);
  assert.equal(script, readFileSync(GOLDEN, 'utf8'));
});

test('nft takes every script as it is', { skip: skipWithoutNamespaces() }, () => {
  const scripts = [
    ruleSetScript(PLAN, []),
    ruleSetScript(PLAN, ['eth0']),
    ruleSetScript({ ...PLAN, limitsFlows: false }, ['eth0']),
    switchedSetScript(PLAN.table, ['eth0', 'with space']),
    switchedSetScript(PLAN.table, []),
    removalScript(PLAN.table),
    removalScript(PLAN.table),
  ];
  const input = scripts.join('\n');
  const { status, stderr } = spawnSync('unshare', ['--net', 'nft', '-f', '-'], { input, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
});

test('every rule has a name of its own, by which it is read back', () => {
  const names = ruleNames(PLAN);
  assert.equal(new Set(names).size, names.length);
  const script = ruleSetScript(PLAN, []);
  for (const name of names) assert.ok(script.includes(`comment "${name.slice(name.indexOf('/') + 1)}"`), name);
});

test('a quote in an interface name can’t end the string in the script', () => {
  assert.ok(!switchedSetScript('t', ['a" } ; flush ruleset ; "b']).includes('a"'));
});
