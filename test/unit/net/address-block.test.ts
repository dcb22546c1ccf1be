import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressBlock } from '../../../net/address-block.ts';

for (const [address, subscriber, network, site] of [
  ['192.0.2.77', '192.0.2.77', '192.0.2', '192.0.2.77'],
  ['::ffff:192.0.2.77', '192.0.2.77', '192.0.2', '192.0.2.77'],
  ['2001:db8:1:23ff::1', '2001:db8:1:23ff', '2001:db8:1:2300', '2001:db8:1:0'],
  ['2001:0db8:0001:23ff:A:b:c:d', '2001:db8:1:23ff', '2001:db8:1:2300', '2001:db8:1:0'],
  ['2001:db8::1', '2001:db8:0:0', '2001:db8:0:0', '2001:db8:0:0'],
  ['fe80::1%eth0', 'fe80:0:0:0', 'fe80:0:0:0', 'fe80:0:0:0'],
  ['::1', '0:0:0:0', '0:0:0:0', '0:0:0:0'],
  ['::', '0:0:0:0', '0:0:0:0', '0:0:0:0'],
] as const)
  test(`${address} is one of the subscriber ${subscriber}, the network ${network}, the site ${site}`, () => {
    assert.equal(addressBlock(address, 32, 64), subscriber);
    assert.equal(addressBlock(address, 24, 56), network);
    assert.equal(addressBlock(address, 32, 48), site);
  });
