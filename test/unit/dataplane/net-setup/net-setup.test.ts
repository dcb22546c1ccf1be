import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gatewayNames } from '../../../../dataplane/net-setup/gateway-names.ts';
import { NetSetup, recoverNetSetup, type NetSetupRecord } from '../../../../dataplane/net-setup/net-setup.ts';
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
    assert.equal(last !== undefined && (await recoverNetSetup(last)), true);
    assert.deepEqual(forwarding(), before);
    assert.equal(execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }), '');
  });

  test('a record of another boot or network namespace is left alone', async () => {
    execFileSync('nft', ['add', 'table', 'inet', table]);
    const record = { tun, table, switched: [], bootId: 'another', networkNamespace: 'net:[1]' };
    assert.equal(await recoverNetSetup(record), false);
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

  test('interfaces that come and rules that go are mended', async () => {
    ip('tuntap', 'add', 'dev', tun, 'mode', 'tun', 'multi_queue');
    const setup = await NetSetup.begin({ stateFolderRealPath: STATE, clientCidr: CLIENTS, store: () => undefined });
    await setup.apply();
    assert.deepEqual(await setup.refresh('rules'), { tun: 'present', switchedOn: [], rules: 'intact' });
    ip('link', 'add', 'b0', 'type', 'veth', 'peer', 'name', 'cvpn-00000000');
    execFileSync('nft', ['flush', 'chain', 'inet', table, 'through']);
    // The TUN of another gateway is that gateway's to look after.
    assert.deepEqual(await setup.refresh('rules'), { tun: 'present', switchedOn: ['b0'], rules: 'reinstalled' });
    assert.deepEqual([forwarding()['b0'], forwarding()['cvpn-00000000']], ['1', '0']);
    await setup.undo();
    assert.equal(forwarding()['b0'], '0');
    ip('link', 'delete', tun);
  });
});
