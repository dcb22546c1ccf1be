import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempDisposableSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gatewayNames } from '../../../../dataplane/net-setup/gateway-names.ts';
import {
  NetSetup,
  recoverNetSetup,
  removeTun,
  type NetSetupRecord,
} from '../../../../dataplane/net-setup/net-setup.ts';
import { inPrivateNetwork } from '../../../support/private-network.ts';

const CLIENTS = { address: 0x0a4d0000, length: 22 };
const STATE = '/state/of/a/test';
const { tun, table } = gatewayNames(STATE);

function ip(...words: readonly string[]): string {
  return execFileSync('ip', words, { encoding: 'utf8' });
}

function forwarding(): Record<string, string> {
  const names = readdirSync('/proc/sys/net/ipv4/conf');
  return Object.fromEntries(
    names.map((name) => [name, readFileSync(`/proc/sys/net/ipv4/conf/${name}/forwarding`, 'utf8').trim()]),
  );
}

function nft(...commands: readonly string[]): void {
  for (const command of commands) execFileSync('nft', [command]);
}

/** The network side of a gateway of its own. */
async function begun(stateFolderRealPath: string, address: number): Promise<NetSetup> {
  const clientCidr = { address, length: 22 };
  const setup = await NetSetup.begin({ stateFolderRealPath, clientCidr, store: () => undefined });
  ip('tuntap', 'add', 'dev', setup.plan.tun, 'mode', 'tun', 'multi_queue');
  await setup.apply();
  return setup;
}

inPrivateNetwork(import.meta.filename, () => {
  test('what is applied can be undone from the record alone, also over a replaced TUN', async () => {
    ip('link', 'add', 'a0', 'type', 'veth', 'peer', 'name', 'a1');
    const before = forwarding();
    const records: NetSetupRecord[] = [];
    const setup = await NetSetup.begin({
      stateFolderRealPath: STATE,
      clientCidr: CLIENTS,
      store: (record) => records.push(record),
    });
    assert.equal(records.length, 1, 'written down before anything is touched');
    ip('tuntap', 'add', 'dev', tun, 'mode', 'tun', 'multi_queue');
    await setup.apply();
    assert.deepEqual(
      { a0: forwarding()['a0'], a1: forwarding()['a1'], tun: forwarding()[tun] },
      { a0: '1', a1: '1', tun: '1' },
    );
    assert.match(ip('addr', 'show', 'dev', tun), /inet 10\.77\.0\.1\/22/);
    assert.doesNotMatch(ip('addr', 'show', 'dev', tun), /inet6/);

    ip('link', 'delete', tun);
    assert.equal((await setup.refresh('forwarding')).tun, 'gone');
    ip('tuntap', 'add', 'dev', tun, 'mode', 'tun', 'multi_queue');
    await setup.apply();
    const last = records.at(-1);
    assert.deepEqual(last?.switched.map(({ name }) => name).sort(), ['a0', 'a1']);

    ip('link', 'delete', tun);
    assert.equal(last !== undefined && (await recoverNetSetup(last, STATE)), true);
    assert.deepEqual(forwarding(), before);
    assert.equal(execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }), '');
  });

  test('the last of two gateways that leaves puts forwarding back', async () => {
    ip('link', 'add', 'b0', 'type', 'veth', 'peer', 'name', 'b1');
    const before = forwarding();
    const first = await begun('/state/1', 0x0a4e0000);
    const second = await begun('/state/2', 0x0a4f0000);
    const third = await begun('/state/3', 0x0a500000);
    await first.undo();
    ip('link', 'delete', first.plan.tun);
    assert.equal(forwarding()['b0'], '1', 'others need it');
    ip('link', 'delete', second.plan.tun);
    await third.undo();
    assert.equal(forwarding()['b0'], '0', 'the second was killed: its claim is void');
    ip('link', 'delete', third.plan.tun);
    await second.undo();
    assert.deepEqual(forwarding(), before);

    const both = [await begun('/state/4', 0x0a4e0000), await begun('/state/5', 0x0a4f0000)];
    await Promise.all(both.map((setup) => setup.undo()));
    for (const { plan } of both) ip('link', 'delete', plan.tun);
    assert.deepEqual(forwarding(), before, 'leaving at the same time');
    ip('link', 'delete', 'b0');
  });

  test('a chain of others that drops forwarded packets is named until it lets the TUN pass', async () => {
    const setup = await begun(STATE, CLIENTS.address);
    assert.deepEqual(await setup.obstacles(), []);
    nft('add table ip filter', 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }');
    nft('add chain ip filter OUTPUT { type filter hook output priority 0; policy drop; }');
    nft('add table ip6 filter', 'add chain ip6 filter FORWARD { type filter hook forward priority 0; policy drop; }');
    const [obstacle, ...others] = await setup.obstacles();
    assert.match(obstacle ?? '', /"ip filter FORWARD".* iifname cvpn-/);
    assert.deepEqual(others, []);
    nft('add rule ip filter FORWARD iifname "docker0" accept', `add rule ip filter FORWARD iifname "${tun}" drop`);
    assert.equal((await setup.obstacles()).length, 1, 'neither rule lets it pass');
    nft(
      ...((obstacle ?? '')
        .split('To let them: ')[1]
        ?.split('; ')
        .map((command) => command.replace('nft ', '')) ?? []),
    );
    assert.deepEqual(await setup.obstacles(), [], 'the advice helps');
    nft('flush ruleset', 'add table ip filter');
    nft('add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }');
    nft('add rule ip filter FORWARD iifname "cvpn-*" counter accept');
    assert.deepEqual(await setup.obstacles(), []);
    nft('flush ruleset');
    await setup.undo();
    ip('link', 'delete', tun);
    nft('flush ruleset');
  });

  test('a kernel that can count no flows serves without that limit, which is said', async () => {
    const path = process.env['PATH'] ?? '';
    using folder = mkdtempDisposableSync(join(tmpdir(), 'clientvpn-nft-'));
    const real = execFileSync('sh', ['-c', 'command -v nft'], { encoding: 'utf8' }).trim();
    const program =
      '#!/bin/sh\nscript=$(cat)\n' +
      'case $script in *"ct count"*) echo "Error: Could not process rule: No such file or directory" >&2; exit 1 ;; esac\n' +
      `printf '%s\\n' "$script" | ${real} "$@"\n`;
    writeFileSync(join(folder.path, 'nft'), program, { mode: 0o755 });
    process.env['PATH'] = `${folder.path}:${path}`;
    try {
      const setup = await begun(STATE, CLIENTS.address);
      assert.match(setup.shortcomings.join(), /nft_connlimit/);
      assert.equal((await setup.refresh('rules')).rules, 'intact');
      await setup.undo();
    } finally {
      process.env['PATH'] = path;
      ip('link', 'delete', tun);
    }
    const setup = await begun(STATE, CLIENTS.address);
    assert.deepEqual(setup.shortcomings, []);
    await setup.undo();
    ip('link', 'delete', tun);
  });

  test('a TUN that was made to stay goes with the run that was killed, and nothing else does', async () => {
    const records: NetSetupRecord[] = [];
    const store = (record: NetSetupRecord): unknown => records.push(record);
    ip('tuntap', 'add', 'dev', tun, 'mode', 'tun', 'multi_queue');
    ip('tuntap', 'add', 'dev', 'cvpn-00000001', 'mode', 'tun', 'multi_queue');
    await (await NetSetup.begin({ stateFolderRealPath: STATE, clientCidr: CLIENTS, store })).apply();
    const [record] = records.slice(-1);
    assert.ok(record !== undefined);
    assert.equal(await recoverNetSetup({ ...record, tun: 'cvpn-00000001' }, STATE), true);
    assert.equal(await recoverNetSetup(record, '/state/copied'), true);
    assert.match(ip('link'), new RegExp(`${tun}.*cvpn-00000001`, 's'));
    assert.equal(await recoverNetSetup(record, STATE), true);
    assert.doesNotMatch(ip('link'), new RegExp(tun));
    assert.match(ip('link'), /cvpn-00000001/);

    ip('link', 'delete', 'cvpn-00000001');
    ip('link', 'add', tun, 'type', 'veth', 'peer', 'name', 'peer');
    await removeTun(tun);
    assert.match(ip('link'), new RegExp(tun), 'no TUN');
    ip('link', 'delete', tun);
    await removeTun(tun);
  });

  test('a TUN is replaced while nobody looks, and nothing is written that has been written', async () => {
    const records: NetSetupRecord[] = [];
    const store = (record: NetSetupRecord): unknown => records.push(record);
    ip('tuntap', 'add', 'dev', tun, 'mode', 'tun', 'multi_queue');
    const setup = await NetSetup.begin({ stateFolderRealPath: STATE, clientCidr: CLIENTS, store });
    await setup.apply();
    records.length = 0;
    // What came later is no reason to stop serving.
    ip('addr', 'add', '10.77.1.1/24', 'dev', 'lo');
    const replaced = setup.apply(async () => {
      await removeTun(tun);
      assert.doesNotMatch(ip('link'), new RegExp(tun));
      ip('tuntap', 'add', 'dev', tun, 'mode', 'tun', 'multi_queue');
    });
    const looks = [setup.refresh('forwarding'), setup.refresh('rules')];
    await replaced;
    for (const look of looks) assert.equal((await look).tun, 'intact');
    assert.match(ip('addr', 'show', 'dev', tun), /inet 10\.77\.0\.1\/22/);
    await assert.rejects(
      setup.apply(() => Promise.reject(new RangeError('no descriptor'))),
      RangeError,
    );
    assert.equal((await setup.refresh('rules')).rules, 'intact');
    assert.deepEqual(records, []);
    await setup.undo();
    await removeTun(tun);
    ip('addr', 'del', '10.77.1.1/24', 'dev', 'lo');
  });

  test('a record of another boot or network namespace is left alone', async () => {
    execFileSync('nft', ['add', 'table', 'inet', table]);
    const record = { tun, table, switched: [], bootId: 'another', networkNamespace: 'net:[1]' };
    assert.equal(await recoverNetSetup(record, STATE), false);
    assert.match(execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }), new RegExp(table));
    execFileSync('nft', ['delete', 'table', 'inet', table]);
  });

  test('a client CIDR that an interface already uses is refused by name', async () => {
    ip('addr', 'add', '10.77.1.1/24', 'dev', 'a0');
    ip('tuntap', 'add', 'dev', tun, 'mode', 'tun', 'multi_queue');
    const setup = await NetSetup.begin({ stateFolderRealPath: STATE, clientCidr: CLIENTS, store: () => undefined });
    await assert.rejects(setup.apply(), /10\.77\.0\.0\/22 overlaps 10\.77\.1\.1\/24 of interface a0/);
    await setup.undo();
    ip('link', 'delete', tun);
    ip('addr', 'del', '10.77.1.1/24', 'dev', 'a0');
  });

  test('a client CIDR inside a wider network is fine, but not inside that of another gateway', async () => {
    ip('tuntap', 'add', 'dev', tun, 'mode', 'tun', 'multi_queue');
    ip('tuntap', 'add', 'dev', 'cvpn-00000001', 'mode', 'tun', 'multi_queue');
    ip('addr', 'add', '10.64.0.1/12', 'dev', 'a0');
    const setup = await NetSetup.begin({ stateFolderRealPath: STATE, clientCidr: CLIENTS, store: () => undefined });
    await setup.apply();
    await setup.undo();
    ip('addr', 'del', '10.64.0.1/12', 'dev', 'a0');
    ip('addr', 'add', '10.64.0.1/12', 'dev', 'cvpn-00000001');
    const second = await NetSetup.begin({ stateFolderRealPath: STATE, clientCidr: CLIENTS, store: () => undefined });
    await assert.rejects(second.apply(), /overlaps 10\.64\.0\.1\/12 of interface cvpn-00000001/);
    await second.undo();
    ip('link', 'delete', tun);
    ip('link', 'delete', 'cvpn-00000001');
  });

  test('interfaces that come and rules that go are mended', async () => {
    ip('tuntap', 'add', 'dev', tun, 'mode', 'tun', 'multi_queue');
    const setup = await NetSetup.begin({ stateFolderRealPath: STATE, clientCidr: CLIENTS, store: () => undefined });
    await setup.apply();
    assert.deepEqual(await setup.refresh('rules'), { tun: 'intact', switchedOn: [], rules: 'intact' });
    ip('link', 'add', 'b0', 'type', 'veth', 'peer', 'name', 'cvpn-00000000');
    execFileSync('nft', ['flush', 'chain', 'inet', table, 'through']);
    // The TUN of another gateway is that gateway's to look after.
    assert.deepEqual(await setup.refresh('rules'), { tun: 'intact', switchedOn: ['b0'], rules: 'reinstalled' });
    ip('link', 'set', tun, 'down');
    assert.equal((await setup.refresh('forwarding')).tun, 'mended');
    ip('addr', 'flush', 'dev', tun);
    assert.equal((await setup.refresh('forwarding')).tun, 'mended');
    assert.equal((await setup.refresh('forwarding')).tun, 'intact');
    assert.deepEqual([forwarding()['b0'], forwarding()['cvpn-00000000']], ['1', '0']);
    await setup.undo();
    assert.equal(forwarding()['b0'], '0');
    ip('link', 'delete', tun);
  });
});
