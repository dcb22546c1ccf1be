import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gatewayNames, isGatewayTun } from '../../../../dataplane/net-setup/gateway-names.ts';

test('a state folder has one name for its TUN and one for its table', () => {
  const names = gatewayNames('/var/lib/clientvpn');
  assert.match(names.tun, /^cvpn-[0-9a-f]{8}$/);
  assert.equal(names.table, names.tun.replace('-', '_'));
  assert.deepEqual(gatewayNames('/var/lib/clientvpn'), names);
  assert.notEqual(gatewayNames('/var/lib/other').tun, names.tun);
  assert.ok(names.tun.length <= 15 && isGatewayTun(names.tun));
  assert.equal(isGatewayTun('cvpn-eth0'), false);
});
