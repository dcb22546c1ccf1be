import assert from 'node:assert/strict';
import { parseIpv4, type Ipv4 } from '../../net/ipv4.ts';
import { parseIpv4Prefix, type Ipv4Prefix } from '../../net/ipv4-prefix.ts';

export function prefix(text: string): Ipv4Prefix {
  const parsed = parseIpv4Prefix(text);
  assert.ok(parsed, `${text} is no prefix`);
  return parsed;
}

export function address(text: string): Ipv4 {
  const parsed = parseIpv4(text);
  assert.ok(parsed !== undefined, `${text} is no address`);
  return parsed;
}
