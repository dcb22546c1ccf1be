import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodeAddress,
  decodeLink,
  encodeAddressDump,
  encodeLinkChange,
  encodeLinkDump,
  encodeNewAddress,
} from '../../../../dataplane/net-setup/rtnetlink-messages.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test('dump requests are bare headers', () => {
  assert.equal(hex(encodeLinkDump()), '00'.repeat(16));
  assert.equal(hex(encodeAddressDump()), `02${'00'.repeat(7)}`);
});

test('forwarding is a nested attribute of the IPv4 family', () => {
  const expected = [
    '00000000 07000000 00000000 00000000', // ifinfomsg: index 7, no flags changed
    '1400 1a80', // IFLA_AF_SPEC, nested
    '1000 0280', // AF_INET
    '0c00 0180', // IFLA_INET_CONF
    '0800 0100 01000000', // IPV4_DEVCONF_FORWARDING = 1
  ];
  assert.equal(hex(encodeLinkChange(7, { forwarding: true })), expected.join('').replaceAll(' ', ''));
});

test('up, MTU and queue length are set and nothing else is touched', () => {
  const bytes = encodeLinkChange(7, { up: true, mtu: 1500, queueLength: 1000 });
  const expected = ['00000000 07000000 01000000 01000000', '0800 0400 dc050000', '0800 0d00 e8030000'];
  assert.equal(hex(bytes), expected.join('').replaceAll(' ', ''));
});

test('an address goes out in network byte order, local and on-link', () => {
  const bytes = encodeNewAddress({ index: 3, address: 0x0a4d0001, prefixLength: 22 });
  assert.equal(hex(bytes), ['0216000003000000', '08000200', '0a4d0001', '08000100', '0a4d0001'].join(''));
  assert.deepEqual(decodeAddress(bytes), { index: 3, address: 0x0a4d0001, prefixLength: 22 });
});

/** What the kernel answers for a link, with its driver, and the settings as one array. */
function linkMessage(forwarding: number): Uint8Array {
  const kind = `08000100${Buffer.from('tun\0').toString('hex')}`;
  const settings = `${forwarding.toString(16).padStart(2, '0')}00000001000000`;
  return Buffer.from(
    '00000100 09000000 01000000 00000000'.replaceAll(' ', '') +
      '09000300' +
      Buffer.from('eth0\0').toString('hex') +
      '000000' +
      '0800040014050000' +
      '08000d00e8030000' +
      `0c001200${kind}` +
      `14001a00` +
      `10000200` +
      `0c000100${settings}`,
    'hex',
  );
}

test('a link is read with its forwarding and its kind', () => {
  const expected = { index: 9, name: 'eth0', up: true, mtu: 1300, queueLength: 1000, kind: 'tun' };
  assert.deepEqual(decodeLink(linkMessage(1)), { ...expected, forwarding: true });
  assert.deepEqual(decodeLink(linkMessage(0)), { ...expected, forwarding: false });
});

test('every truncation and lying length is survived', () => {
  const whole = linkMessage(1);
  for (let length = 0; length < whole.length; length += 1) decodeLink(whole.subarray(0, length));
  for (let at = 16; at < whole.length; at += 1)
    for (const value of [0, 1, 3, 255]) {
      const damaged = Uint8Array.from(whole);
      damaged[at] = value;
      decodeLink(damaged);
      decodeAddress(damaged);
    }
  assert.equal(decodeLink(whole.subarray(0, 15)), undefined);
});
