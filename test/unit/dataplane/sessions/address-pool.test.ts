import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressPool, gatewayAddressOf } from '../../../../dataplane/sessions/address-pool.ts';
import { formatIpv4, parseIpv4 } from '../../../../net/ipv4.ts';
import { parseIpv4Prefix, prefixContainsAddress, type Ipv4Prefix } from '../../../../net/ipv4-prefix.ts';
import { randomFrom, seeded } from '../../../support/seed.ts';

const RANGE: Ipv4Prefix = parseIpv4Prefix('10.100.0.0/29') ?? { address: 0, length: 0 };

function text(address: number | undefined): string | undefined {
  return address === undefined ? undefined : formatIpv4(address);
}

test('[C112] leases every address of the range but network, gateway and broadcast, each once', () => {
  const pool = new AddressPool(RANGE);
  const leased = Array.from({ length: 6 }, (_, index) => text(pool.lease(`user-${index}`)));
  assert.deepEqual(leased, ['10.100.0.2', '10.100.0.3', '10.100.0.4', '10.100.0.5', '10.100.0.6', undefined]);
  assert.equal(text(gatewayAddressOf(RANGE)), '10.100.0.1');
  assert.deepEqual([pool.used, pool.capacity], [5, 5]);
});

test('gives an identity its last address again', () => {
  const pool = new AddressPool(RANGE);
  pool.lease('alice');
  const bobs = pool.lease('bob') ?? 0;
  pool.free(bobs, 1);
  pool.lease('carol');
  assert.equal(pool.lease('bob'), bobs);
});

test('gives a freed address to another only when none is unused, the longest freed first', () => {
  const pool = new AddressPool(RANGE);
  const [first = 0, second = 0] = [pool.lease('a'), pool.lease('b')];
  pool.free(second, 10);
  pool.free(first, 20);
  assert.deepEqual(
    ['c', 'd', 'e', 'f', 'g'].map((identity) => text(pool.lease(identity))),
    ['10.100.0.4', '10.100.0.5', '10.100.0.6', text(second), text(first)],
  );
});

test('the first of several sessions keeps the sticky address', () => {
  const pool = new AddressPool(RANGE);
  const [first = 0, second = 0] = [pool.lease('alice'), pool.lease('alice')];
  pool.free(second, 1);
  pool.free(first, 2);
  assert.equal(pool.lease('alice'), first);
});

test('an address taken over by another identity is sticky for the newcomer alone', () => {
  const pool = new AddressPool(parseIpv4Prefix('10.100.0.0/30') ?? RANGE);
  const address = pool.lease('alice') ?? 0;
  pool.free(address, 1);
  assert.equal(pool.lease('bob'), address);
  pool.free(address, 2);
  assert.equal(pool.lease('alice'), address);
});

test('what an earlier process left is taken up, held addresses as freed now', () => {
  const before = new AddressPool(RANGE);
  const [alices = 0, bobs = 0] = [before.lease('alice'), before.lease('bob')];
  before.free(bobs, 5_000);
  const leases = before.export(1_000_000);
  assert.deepEqual(leases, [
    { identity: 'alice', address: '10.100.0.2', freedAt: null },
    { identity: 'bob', address: '10.100.0.3', freedAt: 1_005_000 },
  ]);
  const foreign = { identity: 'eve', address: '10.99.0.2', freedAt: null };
  const gateway = { identity: 'eve', address: '10.100.0.1', freedAt: null };
  const after = new AddressPool(RANGE);
  after.restore([...leases, foreign, gateway, { ...foreign, address: 'nonsense' }], 100, 1_100_000);
  assert.equal(after.lease('bob'), bobs);
  assert.equal(after.lease('alice'), alices);
  assert.equal(text(after.lease('eve')), '10.100.0.4');
});

test('[C112] never leases one address twice, against a naive book', (context) => {
  const random = randomFrom(seeded(context).seed);
  const range = parseIpv4Prefix('10.100.0.0/26') ?? RANGE;
  const pool = new AddressPool(range);
  const book = new Map<number, string>();
  for (let step = 0; step < 20_000; step += 1) {
    if (random() < 0.55) {
      const identity = `user-${Math.floor(random() * 100)}`;
      const address = pool.lease(identity);
      assert.equal(address === undefined, book.size === pool.capacity);
      if (address === undefined) continue;
      assert.ok(!book.has(address) && prefixContainsAddress(range, address));
      assert.notEqual(address, parseIpv4('10.100.0.1'));
      book.set(address, identity);
    } else {
      const [address] = [...book.keys()].slice(Math.floor(random() * book.size));
      if (address === undefined) continue;
      pool.free(address, step);
      book.delete(address);
    }
    assert.equal(pool.used, book.size);
  }
});

test('has another revision after each change of what survives a restart, and the same without one', () => {
  const pool = new AddressPool(RANGE);
  const revisions = [pool.revision];
  const address = pool.lease('alice') ?? 0;
  revisions.push(pool.revision);
  pool.free(address, 1);
  revisions.push(pool.revision);
  pool.free(address, 2);
  pool.restore([{ identity: 'bob', address: '10.100.0.3', freedAt: null }], 3, 0);
  revisions.push(pool.revision);
  assert.equal(new Set(revisions).size, 4);
  pool.export(0);
  assert.equal(pool.revision, revisions.at(-1));
});

test('tells no more leases than its supervisor takes: those held, then those freed last', () => {
  const pool = new AddressPool(RANGE);
  for (const identity of ['a', 'b', 'c', 'd']) pool.lease(identity);
  const first = RANGE.address + 2;
  for (const [index, at] of [20, 10, 30].entries()) pool.free(first + index, at);
  const told = (most: number) => pool.export(0, most).map(({ identity }) => identity);
  assert.deepEqual(told(4), ['d', 'a', 'b', 'c']);
  assert.deepEqual(told(3), ['d', 'b', 'c']);
  assert.deepEqual(told(0), []);
});
