import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { celEnvironment } from '../../../standalone/cel-environment.ts';

const environment = celEnvironment();
const holds = (rule: string): unknown => environment.parse(rule)({ self: null, oldSelf: null });

/** Expression → value, as Kubernetes' documentation of its IP and CIDR libraries gives them. */
const TRUE = [
  "isIP('127.0.0.1')",
  "isIP('::1')",
  "!isIP('127.0.0.256')",
  "!isIP(':::1')",
  "!isIP('1.2.3')",
  "!isIP('01.2.3.4')",
  "!isIP('fe80::1%eth0')",
  "!isIP('::ffff:1.2.3.4')",
  "ip('127.0.0.1').family() == 4",
  "ip('::1').family() == 6",
  "ip('0.0.0.0').isUnspecified()",
  "ip('127.9.9.9').isLoopback()",
  "ip('::1').isLoopback()",
  "!ip('10.0.0.1').isLoopback()",
  "string(ip('2001:DB8::0:1')) == '2001:db8::1'",
  "string(ip('2001:db8:0:0:1:0:0:1')) == '2001:db8::1:0:0:1'",
  "string(ip('::')) == '::'",
  "string(ip('1::')) == '1::'",
  "string(ip('1:2:3:4:5:6:7:8')) == '1:2:3:4:5:6:7:8'",
  "isCIDR('192.168.0.0/16')",
  "isCIDR('192.168.0.1/16')",
  "isCIDR('::1/128')",
  "!isCIDR('192.168.0.0/33')",
  "!isCIDR('192.168.0.0/')",
  "!isCIDR('192.168.0.0/016')",
  "!isCIDR('192.168.0.0')",
  "!isCIDR('/8')",
  "cidr('192.168.0.0/24').containsIP(ip('192.168.0.1'))",
  "cidr('192.168.0.0/24').containsIP('192.168.0.1')",
  "!cidr('192.168.0.0/24').containsIP('192.168.1.1')",
  "!cidr('0.0.0.0/0').containsIP('::1')",
  "cidr('192.168.0.0/16').containsCIDR(cidr('192.168.10.0/24'))",
  "cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24')",
  "cidr('192.168.0.0/16').containsCIDR('192.168.0.0/16')",
  "!cidr('192.168.10.0/24').containsCIDR('192.168.0.0/16')",
  "cidr('0.0.0.0/0').containsCIDR('255.255.255.255/32')",
  "cidr('192.168.1.0/24').ip() == ip('192.168.1.0')",
  "cidr('192.168.1.0/24').ip().family() == 4",
  "string(cidr('192.168.0.1/24').masked()) == '192.168.0.0/24'",
  "string(cidr('255.255.255.255/0').masked()) == '0.0.0.0/0'",
  "string(cidr('2001:db8:ffff::/32').masked()) == '2001:db8::/32'",
  "cidr('::1/128').prefixLength() == 128",
  "ip('10.0.0.1') != ip('10.0.0.2')",
  "cidr('10.0.0.0/8') == cidr('10.0.0.0/8')",
  "cidr('10.0.0.0/8') != cidr('10.0.0.0/9')",
];

describe('CEL address functions', () => {
  for (const rule of TRUE) it(rule, () => assert.equal(holds(rule), true));

  it('ip() and cidr() of other text are errors, not false', () => {
    assert.throws(() => holds("ip('nonsense').family() == 4"));
    assert.throws(() => holds("cidr('10.0.0.0').prefixLength() == 8"));
  });
});
