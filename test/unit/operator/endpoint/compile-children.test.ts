import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkTargetNetworks } from '../../../../operator/endpoint/checks/target-networks.ts';
import { type Json } from '../../../support/base-resources.ts';
import { compileObjects, conditionOf, findCondition, resourceSet } from '../../../support/compile-fixture.ts';
import {
  KEY,
  endpoint,
  local,
  network,
  route,
  localRoute,
  rule,
  aged,
  staff,
  users,
} from '../../../support/compile-objects.ts';

describe('compile: target networks', () => {
  it('without one the endpoint is pending-associate [C1] [C34]', () => {
    const result = compileObjects([endpoint()]);
    assert.equal(conditionOf(result, 'ClientVpnEndpoint/corp', 'TargetNetworksAssociated'), 'False/NoneAssociated');
    const status = result.statuses.get(KEY)?.status;
    assert.ok(status !== undefined && 'endpointID' in status);
    assert.equal(status.state, 'pending-associate');
    assert.match(status.endpointID ?? '', /^cvpn-endpoint-[0-9a-f]{17}$/);
  });

  it('the first makes it available, with a route for each VPC network [C2]', () => {
    const result = compileObjects([endpoint(), network('net-a')]);
    assert.deepEqual(result.endpoints.get(KEY)?.snapshot?.routing, {
      'net-a': [{ name: 'net-a-10-50-0-0-16', cidr: '10.50.0.0/16', via: 'TargetNetwork' }],
    });
    const status = result.statuses.get('Route/default/net-a-10-50-0-0-16')?.status;
    assert.ok(status !== undefined && 'origin' in status);
    assert.equal(status.origin, 'associate');
    assert.equal(conditionOf(result, 'TargetNetwork/net-a', 'Accepted'), 'True/Accepted');
  });

  it('VPC networks of endpoint and target network join, and follow an edit [C35]', () => {
    const vpc = { vpc: { name: 'main', cidrs: ['10.50.0.0/16', '10.51.0.0/16'] } };
    const result = compileObjects([endpoint(vpc), network('net-a'), network('net-b', { vpc: null })]);
    const routing = result.endpoints.get(KEY)?.snapshot?.routing ?? {};
    for (const name of ['net-a', 'net-b']) {
      assert.deepEqual(
        routing[name]?.map(({ cidr }) => cidr),
        ['10.50.0.0/16', '10.51.0.0/16'],
      );
    }
  });

  it('a second one in a zone is refused, and let in when the first goes [C27]', () => {
    const twins = [aged(network('net-b', { zone: 'z' }), 1), aged(network('net-a', { zone: 'z' }), 2)];
    const result = compileObjects([endpoint(), ...twins]);
    assert.equal(conditionOf(result, 'TargetNetwork/net-b', 'Accepted'), 'True/Accepted');
    assert.equal(conditionOf(result, 'TargetNetwork/net-a', 'Accepted'), 'False/ZoneInUse');
    const later = compileObjects([endpoint(), ...twins.slice(1)]);
    assert.equal(conditionOf(later, 'TargetNetwork/net-a', 'Accepted'), 'True/Accepted');
  });

  it('one that goes takes its automatic routes along, manual ones to it wait, and another’s stay [C33]', () => {
    const to = (name: string) =>
      route(`to-${name}`, '10.60.0.0/16', { target: { type: 'TargetNetwork', targetNetworkRef: { name } } });
    const routes = [to('net-a'), to('net-b')];
    const both = compileObjects([endpoint(), network('net-a'), network('net-b'), ...routes]);
    const before = both.endpoints.get(KEY)?.snapshot?.routing ?? {};
    assert.deepEqual(
      before['net-b']?.map(({ name }) => name),
      ['net-b-10-50-0-0-16', 'to-net-b'],
    );
    const one = compileObjects([endpoint(), network('net-a'), ...routes]);
    assert.deepEqual(one.endpoints.get(KEY)?.snapshot?.routing, { 'net-a': before['net-a'] });
    assert.equal(one.statuses.get('Route/default/net-b-10-50-0-0-16'), undefined);
    assert.equal(conditionOf(one, 'Route/to-net-b', 'Accepted'), 'False/TargetNetworkNotFound');
    assert.equal(conditionOf(one, 'Route/to-net-a', 'Accepted'), 'True/Accepted');
  });

  it('one of another VPC is refused [C28]', () => {
    const result = compileObjects([endpoint(), network('net-a'), network('net-b', { vpc: { name: 'other' } })]);
    assert.equal(conditionOf(result, 'TargetNetwork/net-b', 'Accepted'), 'False/VpcMismatch');
    const named = compileObjects([endpoint({ vpc: { name: 'other' } }), network('net-a')]);
    assert.equal(conditionOf(named, 'TargetNetwork/net-a', 'Accepted'), 'False/VpcMismatch');
  });

  it('one without any VPC is refused', () => {
    const result = compileObjects([endpoint(), network('net-a', { vpc: null })]);
    assert.equal(conditionOf(result, 'TargetNetwork/net-a', 'Accepted'), 'False/VpcMismatch');
    assert.match(findCondition(result, 'TargetNetwork/net-a', 'Accepted')?.message ?? '', /required/);
  });

  it('subnet or VPC over the client network are refused [C29] [C7]', () => {
    const subnet = compileObjects([endpoint(), network('net-a', { subnet: { cidr: '10.8.4.0/24' } })]);
    assert.equal(conditionOf(subnet, 'TargetNetwork/net-a', 'Accepted'), 'False/SubnetOverlapsClientCIDR');
    const vpc = compileObjects([endpoint(), network('net-a', { vpc: { cidrs: ['10.0.0.0/8'] } })]);
    assert.equal(conditionOf(vpc, 'TargetNetwork/net-a', 'Accepted'), 'False/VpcOverlapsClientCIDR');
  });

  it('a subnet that got past the schema too small is refused all the same [C26]', () => {
    const { endpoints, targetNetworks } = resourceSet([endpoint(), network('net-a')]);
    const [owner] = endpoints;
    const [good] = targetNetworks;
    assert.ok(owner !== undefined && good !== undefined);
    const subnet = { ...good.spec.subnet, cidr: '10.50.0.16/28' };
    const { rejected } = checkTargetNetworks(owner, [{ ...good, spec: { ...good.spec, subnet } }]);
    assert.equal(rejected.get('net-a')?.reason, 'SubnetTooSmall');
  });

  it('one that comes after the endpoint began to go is refused [C21]', () => {
    const metadata = { name: 'corp', deletionTimestamp: '2025-01-10T00:00:00Z' };
    const objects = [{ ...endpoint(), metadata }, aged(network('net-a'), 9), aged(network('net-b'), 11)];
    const result = compileObjects(objects);
    assert.equal(conditionOf(result, 'TargetNetwork/net-a', 'Accepted'), 'True/Accepted');
    assert.equal(conditionOf(result, 'TargetNetwork/net-b', 'Accepted'), 'False/EndpointDeleting');
  });

  it('capacity follows their number and the client addresses [C40]', () => {
    const zones = ['a', 'b', 'c', 'd', 'e'];
    const capacities = zones.map((_, count) => {
      const networks = zones.slice(0, count + 1).map((zone) => network(`net-${zone}`));
      const result = compileObjects([endpoint({ clientCIDR: '10.16.0.0/12' }), ...networks]);
      return result.endpoints.get(KEY)?.snapshot?.maxConnections;
    });
    assert.deepEqual(capacities, [20_000, 36_500, 66_500, 96_500, 126_000]);
    const small = compileObjects([endpoint({ clientCIDR: '10.8.0.0/22' }), network('net-a')]);
    assert.equal(small.endpoints.get(KEY)?.snapshot?.maxConnections, 1021);
  });
});

describe('compile: routes', () => {
  it('one to an unknown target network waits for it [C44]', () => {
    const waiting = compileObjects([endpoint(), route('r', '10.60.0.0/16')]);
    assert.equal(conditionOf(waiting, 'Route/r', 'Accepted'), 'False/TargetNetworkNotFound');
    const there = compileObjects([endpoint(), route('r', '10.60.0.0/16'), network('net-a')]);
    assert.equal(conditionOf(there, 'Route/r', 'Accepted'), 'True/Accepted');
  });

  it('one to a target network that is not accepted is not either', () => {
    const result = compileObjects([endpoint(), network('net-a', { vpc: null }), route('r', '10.60.0.0/16')]);
    assert.equal(conditionOf(result, 'Route/r', 'Accepted'), 'False/TargetNetworkNotAccepted');
  });

  it('the younger of two with one destination and target is a duplicate [C45]', () => {
    const pair = [aged(route('z', '10.60.0.0/16'), 1), aged(route('a', '10.60.0.0/16'), 2)];
    const result = compileObjects([endpoint(), network('net-a'), ...pair]);
    assert.equal(conditionOf(result, 'Route/z', 'Accepted'), 'True/Accepted');
    assert.equal(conditionOf(result, 'Route/a', 'Accepted'), 'False/Duplicate');
  });

  it('one that repeats an automatic route, or takes its name, is a duplicate', () => {
    const same = compileObjects([endpoint(), network('net-a'), route('r', '10.50.0.0/16')]);
    assert.equal(conditionOf(same, 'Route/r', 'Accepted'), 'False/Duplicate');
    const namesake = compileObjects([endpoint(), network('net-a'), route('net-a-10-50-0-0-16', '10.60.0.0/16')]);
    assert.match(namesake.findings[0]?.message ?? '', /automatic route to 10\.50\.0\.0\/16 has this name/);
    assert.equal(conditionOf(namesake, 'Route/net-a-10-50-0-0-16', 'Accepted'), 'True/Accepted');
  });

  it('one label does not make a manual route automatic', () => {
    const labelled = {
      ...route('r', '10.60.0.0/16'),
      metadata: { name: 'r', labels: { 'clientvpn.dev/origin': 'associate' } },
    };
    const result = compileObjects([endpoint(), network('net-a'), labelled], { quotas: { routes: 0 } });
    assert.equal(conditionOf(result, 'Route/r', 'Accepted'), 'False/QuotaExceeded');
  });

  for (const [destination, verdict] of [
    ['10.8.0.0/16', 'False/OverlapsClientCIDR'],
    ['10.8.9.0/24', 'False/OverlapsClientCIDR'],
    ['10.0.0.0/8', 'False/OverlapsClientCIDR'],
    ['0.0.0.0/0', 'True/Accepted'],
    ['10.9.0.0/16', 'True/Accepted'],
  ] as const) {
    it(`one to ${destination} with client network 10.8.0.0/16: ${verdict} [C46]`, () => {
      const result = compileObjects([endpoint(), network('net-a'), route('r', destination)]);
      assert.equal(conditionOf(result, 'Route/r', 'Accepted'), verdict);
    });
  }

  it('a Local one must lie in the client network, and is in every target network [C47]', () => {
    const objects = [endpoint(), network('net-a'), network('net-b'), localRoute('in', '10.8.0.0/16')];
    const result = compileObjects([...objects, localRoute('out', '10.60.0.0/16')]);
    assert.equal(conditionOf(result, 'Route/out', 'Accepted'), 'False/LocalMustBeClientCIDR');
    const routing = result.endpoints.get(KEY)?.snapshot?.routing ?? {};
    for (const list of Object.values(routing)) assert.equal(list.find(({ name }) => name === 'in')?.via, 'Local');
    assert.equal(Object.keys(routing).length, 2);
  });

  it('the eleventh manual one exceeds the quota, automatic ones do not count [C51]', () => {
    const routes = Array.from({ length: 11 }, (_, index) =>
      aged(route(`r${index}`, `10.${60 + index}.0.0/16`), 20 - index),
    );
    const objects = [endpoint(), network('net-a'), ...routes];
    const refused = compileObjects(objects).findings.filter(({ reason }) => reason === 'QuotaExceeded');
    assert.deepEqual(
      refused.map(({ name }) => name),
      ['r0'],
    );
    const raised = compileObjects(objects, { quotas: { routes: 11 } });
    assert.deepEqual(
      raised.findings.filter(({ reason }) => reason === 'QuotaExceeded'),
      [],
    );
  });

  it('gaps between target networks are listed [C52] and close when all have the route [C53]', () => {
    const ref = (name: string): Json => ({ target: { targetNetworkRef: { name } } });
    const networks = [network('net-a'), network('net-b'), network('net-c')];
    const one = compileObjects([endpoint(), ...networks, route('to-all', '0.0.0.0/0')]);
    assert.equal(conditionOf(one, 'ClientVpnEndpoint/corp', 'RoutesSymmetric'), 'False/Asymmetric');
    const message = findCondition(one, 'ClientVpnEndpoint/corp', 'RoutesSymmetric')?.message ?? '';
    assert.match(message, /net-b lacks 0\.0\.0\.0\/0, net-c lacks 0\.0\.0\.0\/0/);
    assert.equal(conditionOf(one, 'Route/to-all', 'Advisory'), 'True/NotPresentOnAllTargetNetworks');
    const all = compileObjects([
      endpoint(),
      ...networks,
      route('a', '0.0.0.0/0'),
      route('b', '0.0.0.0/0', ref('net-b')),
      route('c', '0.0.0.0/0', ref('net-c')),
    ]);
    assert.equal(conditionOf(all, 'ClientVpnEndpoint/corp', 'RoutesSymmetric'), 'True/Symmetric');
    assert.equal(conditionOf(all, 'Route/a', 'Advisory'), undefined);
  });

  it('a default route with split tunnel is worth a word [C59]', () => {
    const objects = [network('net-a'), route('r', '0.0.0.0/0')];
    const split = compileObjects([endpoint({ splitTunnel: true }), ...objects]);
    assert.equal(conditionOf(split, 'Route/r', 'Advisory'), 'True/DefaultRouteWithSplitTunnel');
    assert.equal(conditionOf(split, 'Route/r', 'Accepted'), 'True/Accepted');
    assert.equal(conditionOf(compileObjects([endpoint(), ...objects]), 'Route/r', 'Advisory'), undefined);
  });
});

describe('compile: authorization rules', () => {
  it('a group rule needs an endpoint that knows groups [C72]', () => {
    const result = compileObjects([
      endpoint(),
      network('net-a'),
      rule('g', '10.50.0.0/16', 'Eng'),
      rule('u', '10.50.0.0/16'),
    ]);
    assert.equal(conditionOf(result, 'AuthorizationRule/g', 'Accepted'), 'False/GroupsNotSupported');
    assert.equal(conditionOf(result, 'AuthorizationRule/u', 'Accepted'), 'True/Accepted');
    const known = compileObjects([endpoint(local), staff, network('net-a'), rule('g', '10.50.0.0/16', 'Eng')], {
      users,
    });
    assert.equal(conditionOf(known, 'AuthorizationRule/g', 'Accepted'), 'True/Accepted');
  });

  for (const [destination, verdict] of [
    ['10.8.0.0/16', 'False/GroupOnClientCIDR'],
    ['10.8.3.0/24', 'False/GroupOnClientCIDR'],
    ['10.0.0.0/8', 'True/Accepted'],
    ['0.0.0.0/0', 'True/Accepted'],
  ] as const) {
    it(`a group rule for ${destination} with client network 10.8.0.0/16: ${verdict} [C49]`, () => {
      const result = compileObjects([endpoint(local), staff, rule('g', destination, 'Eng')]);
      assert.equal(conditionOf(result, 'AuthorizationRule/g', 'Accepted'), verdict);
    });
  }

  it('the same grant twice is a duplicate, another group or destination is not', () => {
    const rules = [
      rule('a', '10.50.0.0/16', 'Eng'),
      rule('b', '10.50.0.0/16', 'Eng'),
      rule('c', '10.50.0.0/16', 'eng'),
    ];
    const result = compileObjects([endpoint(local), staff, ...rules, rule('d', '10.51.0.0/16', 'Eng')]);
    assert.equal(conditionOf(result, 'AuthorizationRule/b', 'Accepted'), 'False/Duplicate');
    for (const name of ['a', 'c', 'd'])
      assert.equal(conditionOf(result, `AuthorizationRule/${name}`, 'Accepted'), 'True/Accepted');
  });

  it('the youngest of 51 exceeds the quota, and is promoted when another goes [C77]', () => {
    const rules = Array.from({ length: 51 }, (_, index) =>
      aged(rule(`r${index}`, `10.${100 + index}.0.0/16`), 1 + ((index * 7) % 27)),
    );
    const youngest = aged(rule('a-young-one', '10.99.0.0/16'), 28);
    const all = [endpoint(), ...rules.slice(0, 50), youngest];
    const refused = compileObjects(all).findings.filter(({ reason }) => reason === 'QuotaExceeded');
    assert.deepEqual(
      refused.map(({ name }) => name),
      ['a-young-one'],
    );
    const fewer = compileObjects(all.filter((object) => object !== rules[3]));
    assert.equal(conditionOf(fewer, 'AuthorizationRule/a-young-one', 'Accepted'), 'True/Accepted');
  });

  it('no route and shadowed grants are worth a word', () => {
    const objects = [endpoint(local), staff, network('net-a'), route('all', '0.0.0.0/0')];
    const rules = [
      rule('wide', '0.0.0.0/0', 'Mgr'),
      rule('narrow', '10.50.0.0/16', 'Eng'),
      rule('both', '10.50.0.0/16', 'Mgr'),
    ];
    const shadowed = compileObjects([...objects, ...rules.slice(0, 2)]);
    assert.equal(conditionOf(shadowed, 'AuthorizationRule/narrow', 'Advisory'), 'True/ShadowsAllUsers');
    assert.match(findCondition(shadowed, 'AuthorizationRule/narrow', 'Advisory')?.message ?? '', /group Mgr/);
    assert.equal(
      conditionOf(compileObjects([...objects, ...rules]), 'AuthorizationRule/narrow', 'Advisory'),
      undefined,
    );
    const routeless = compileObjects([
      endpoint(),
      network('net-a'),
      rule('r', '10.70.0.0/16'),
      rule('c', '10.8.0.0/16'),
    ]);
    assert.equal(conditionOf(routeless, 'AuthorizationRule/r', 'Advisory'), 'True/NoRoute');
    assert.equal(conditionOf(routeless, 'AuthorizationRule/c', 'Advisory'), 'True/NoRoute');
  });
});
