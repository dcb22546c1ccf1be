import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { loadAddon } from '../../../dataplane/io/load-addon.ts';
import { KernelEvents, type KernelEvent } from '../../../standalone/kernel-events.ts';
import { inPrivateNetwork } from '../../support/private-network.ts';
import { waitFor } from '../../support/wait.ts';

const TABLE = 'cvpn_1a4a976e';

function run(line: string): void {
  const [program, ...words] = line.split(' ');
  execFileSync(program, words);
}

/** Runs `change` and waits until it was heard. @returns everything that was */
async function heard(change: () => void, awaited: KernelEvent): Promise<readonly KernelEvent[]> {
  const events = new Set<KernelEvent>();
  const listening = new KernelEvents({ addon: loadAddon(), table: TABLE, onEvent: (event) => events.add(event) });
  try {
    change();
    await waitFor(`the kernel to tell of ${awaited}`, () => events.has(awaited), 5_000);
  } finally {
    listening.close();
  }
  return [...events];
}

inPrivateNetwork(import.meta.filename, () => {
  test('interfaces that come, get an address, are switched and go are heard of', async () => {
    const changes = [
      'ip link add a0 type veth peer name a1',
      'ip addr add 192.0.2.1/24 dev a0',
      'ip link set a0 up',
      'ip addr del 192.0.2.1/24 dev a0',
      'ip link delete a0',
    ];
    for (const change of changes) assert.deepEqual(await heard(() => run(change), 'links'), ['links'], change);
  });

  test('forwarding that is switched is heard of', async () => {
    const setting = '/proc/sys/net/ipv4/conf/lo/forwarding';
    for (const value of ['1', '0'])
      assert.deepEqual(await heard(() => writeFileSync(setting, value), 'links'), ['links']);
  });

  test('rules of ours and rules of others are told apart, by the whole name', async () => {
    run(`nft add table inet ${TABLE}`);
    run(`nft add table inet ${TABLE}0`);
    for (const [change, event] of [
      [`add chain inet ${TABLE} c`, 'own rules'],
      [`add rule inet ${TABLE} c drop`, 'own rules'],
      [`add chain inet ${TABLE}0 c`, 'other rules'],
      [`add rule inet ${TABLE}0 c drop`, 'other rules'],
      [`delete table inet ${TABLE}0`, 'other rules'],
      ['flush ruleset', 'own rules'],
    ] as const) {
      const events = await heard(() => run(`nft ${change}`), event);
      // That the ruleset has another number now names no table.
      assert.ok(event === 'own rules' || !events.includes('own rules'), change);
    }
  });

  test('what the kernel could not keep counts as a change of ours', async () => {
    const commands = Array.from({ length: 6_000 }, (_, index) => `add table ip t${index}\n`).join('');
    await heard(() => execFileSync('nft', ['-f', '-'], { input: commands }), 'own rules');
  });

  test('nobody is told any more after the end', async () => {
    const events: KernelEvent[] = [];
    const listening = new KernelEvents({ addon: loadAddon(), table: TABLE, onEvent: (event) => events.push(event) });
    listening.close();
    assert.deepEqual(await heard(() => run('ip link set lo mtu 1400'), 'links'), ['links']);
    assert.deepEqual(events, []);
  });
});
