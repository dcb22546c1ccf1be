import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipv4Mask } from '../../../../net/ipv4-prefix.ts';
import { emptyEvaluation, PolicyView } from '../../../../dataplane/policy/evaluate.ts';
import {
  compilePolicy,
  GroupInterner,
  type PolicyRule,
  type PolicySource,
} from '../../../../dataplane/policy/policy-tables.ts';
import { naiveEvaluate } from '../../../support/naive-policy.ts';
import { address, prefix } from '../../../support/prefixes.ts';
import { randomFrom, SEED, seeded } from '../../../support/seed.ts';

const CLIENTS = prefix('10.8.0.0/22');
const EVERYWHERE = { prefix: prefix('0.0.0.0/0'), via: 'TargetNetwork' } as const;

function policy(rules: readonly PolicyRule[], routes: PolicySource['routes'] = [EVERYWHERE]): PolicySource {
  return { clientCidr: CLIENTS, gatewayAddress: address('10.8.0.1'), routes, rules };
}

/** `Eng→10.0.0.0/16`; the group `*` is all users. */
function rules(...texts: readonly string[]): PolicyRule[] {
  return texts.map((text) => {
    const [group, cidr] = text.split('→');
    return { prefix: prefix(cidr), allUsers: group === '*', group: group === '*' ? null : group };
  });
}

function evaluate(source: PolicySource, to: string, groups: readonly string[]) {
  const interner = new GroupInterner();
  const view = new PolicyView(compilePolicy(source, interner, 1).shared);
  const result = emptyEvaluation();
  view.evaluate(address(to), interner.idsOf(groups), result);
  return { ...result, rules: view.rulesAtPrefix(result.rulePrefixIndex) };
}

const ON_PREM = '172.16.0.9';
const ON_PREM_UPPER = '172.16.0.200';
const DEVELOPMENT = '10.0.7.7';
const HOST = '10.0.2.119';
const VPN_VPC = '192.168.0.5';
const INTERNET = '8.8.8.8';
const ALL = [ON_PREM, ON_PREM_UPPER, DEVELOPMENT, HOST, VPN_VPC, INTERNET];

const ONE = rules('Eng→172.16.0.0/24', 'Dev→10.0.0.0/16', 'Mgr→192.168.0.0/24');
const TWO = rules('Eng→172.16.0.0/24', 'Dev→10.0.0.0/16', 'Mgr→0.0.0.0/0');
const THREE = [...TWO, ...rules('Mgr→10.0.2.119/32')];
const FOUR = [...THREE, ...rules('Eng→172.16.0.128/25')];
const FIVE = [...FOUR, ...rules('Eng→0.0.0.0/0')];
const SIX = [...FIVE, ...rules('Mgr→192.168.0.0/24')];
const SEVEN = [...SIX, ...rules('*→0.0.0.0/0')];

/** Conformance [C61] [C62] [C63] [C64] [C65] [C66] [C67]: what each group reaches of ALL. */
const SCENARIOS = [
  [
    'C61',
    'access to a single destination',
    ONE,
    { Eng: [ON_PREM, ON_PREM_UPPER], Dev: [DEVELOPMENT, HOST], Mgr: [VPN_VPC] },
  ],
  [
    'C62',
    'any destination',
    TWO,
    { Eng: [ON_PREM, ON_PREM_UPPER], Dev: [DEVELOPMENT, HOST], Mgr: [VPN_VPC, INTERNET] },
  ],
  [
    'C63',
    'longest prefix',
    THREE,
    { Eng: [ON_PREM, ON_PREM_UPPER], Dev: [DEVELOPMENT], Mgr: [HOST, VPN_VPC, INTERNET] },
  ],
  [
    'C64',
    'overlap, same group',
    FOUR,
    { Eng: [ON_PREM, ON_PREM_UPPER], Dev: [DEVELOPMENT], Mgr: [HOST, VPN_VPC, INTERNET] },
  ],
  [
    'C65',
    'a second 0.0.0.0/0',
    FIVE,
    { Eng: [ON_PREM, ON_PREM_UPPER, VPN_VPC, INTERNET], Dev: [DEVELOPMENT], Mgr: [HOST, VPN_VPC, INTERNET] },
  ],
  [
    'C66',
    'a rule for 192.168.0.0/24',
    SIX,
    { Eng: [ON_PREM, ON_PREM_UPPER, INTERNET], Dev: [DEVELOPMENT], Mgr: [HOST, VPN_VPC, INTERNET] },
  ],
  [
    'C67',
    'all users',
    SEVEN,
    {
      Eng: [ON_PREM, ON_PREM_UPPER, INTERNET],
      Dev: [DEVELOPMENT, INTERNET],
      Mgr: [HOST, VPN_VPC, INTERNET],
      Other: [INTERNET],
    },
  ],
] as const;

for (const [number, name, scenario, reach] of SCENARIOS) {
  test(`[${number}] ${name}`, () => {
    for (const [group, reached] of Object.entries(reach)) {
      const allowed = ALL.filter((to) => evaluate(policy(scenario), to, [group]).verdict === 'Allowed');
      assert.deepEqual(allowed, reached, group);
    }
  });
}

const FIVE_RULES = rules('G1→10.1.0.0/16', 'G1→0.0.0.0/0', 'G2→0.0.0.0/0', 'G3→0.0.0.0/0', 'G2→172.131.0.0/16');

test('[C68] the five-rule example', () => {
  const verdicts = (scenario: readonly PolicyRule[], group: string): boolean[] =>
    ['10.1.9.9', '172.131.9.9', '8.8.8.8'].map((to) => evaluate(policy(scenario), to, [group]).verdict === 'Allowed');
  assert.deepEqual(verdicts(FIVE_RULES, 'G1'), [true, false, true]);
  assert.deepEqual(verdicts(FIVE_RULES, 'G2'), [false, true, true]);
  assert.deepEqual(verdicts(FIVE_RULES, 'G3'), [false, false, true]);
  for (const group of ['G1', 'G2', 'G3']) {
    assert.deepEqual(verdicts(FIVE_RULES.slice(1, 4), group), [true, true, true], 'without rules 1 and 5');
  }
});

test('[C60] without rules nothing passes', () => {
  for (const to of ALL) assert.equal(evaluate(policy([]), to, ['Eng']).verdict, 'NoRule');
});

test('[C75] group names are compared byte for byte', () => {
  assert.equal(evaluate(policy(rules('Eng→0.0.0.0/0')), INTERNET, ['eng']).verdict, 'NotGranted');
});

test('without a route nothing passes, whatever the rules', () => {
  const source = policy(rules('*→0.0.0.0/0'), [{ prefix: prefix('10.0.0.0/16'), via: 'TargetNetwork' }]);
  assert.equal(evaluate(source, INTERNET, []).verdict, 'NoRoute');
  assert.equal(evaluate(source, DEVELOPMENT, []).verdict, 'Allowed');
});

test('[C48] clients are reached by a local route and an all-users rule, and by nothing else', () => {
  const local = { prefix: CLIENTS, via: 'Local' } as const;
  const open = rules('*→10.8.0.0/22');
  assert.equal(evaluate(policy(open, [EVERYWHERE, local]), '10.8.1.1', []).via, 'Local');
  assert.equal(evaluate(policy(open, [EVERYWHERE]), '10.8.1.1', []).verdict, 'NoRoute');
  assert.equal(evaluate(policy([], [EVERYWHERE, local]), '10.8.1.1', []).verdict, 'NoRule');
  assert.equal(evaluate(policy(rules('Eng→10.0.0.0/8'), [EVERYWHERE, local]), '10.8.1.1', ['Eng']).verdict, 'NoRule');
  assert.equal(evaluate(policy(rules('*→0.0.0.0/0', 'Eng→10.0.0.0/8'), [local]), '10.8.1.1', []).verdict, 'Allowed');
});

test('a local route leads nowhere outside the client network', () => {
  const source = policy(rules('*→0.0.0.0/0'), [{ prefix: prefix('10.0.0.0/8'), via: 'Local' }]);
  assert.equal(evaluate(source, '10.9.0.1', []).verdict, 'NoRoute');
});

for (const to of [
  '0.1.2.3',
  '127.0.0.1',
  '169.254.169.254',
  '224.0.0.1',
  '239.255.255.255',
  '240.0.0.1',
  '255.255.255.255',
  '10.8.0.1',
]) {
  test(`${to} is out of reach, whatever the rules`, () => {
    const source = policy(rules('*→0.0.0.0/0'), [EVERYWHERE, { prefix: CLIENTS, via: 'Local' }]);
    assert.equal(evaluate(source, to, []).verdict, 'SpecialDestination');
  });
}

test('indices lead back to the route and to every rule at the deciding prefix', () => {
  const source = policy(rules('Eng→10.0.0.0/16', '*→0.0.0.0/0', 'Dev→10.0.0.0/16'), [
    { prefix: prefix('10.0.0.0/8'), via: 'TargetNetwork' },
    EVERYWHERE,
  ]);
  const refused = evaluate(source, DEVELOPMENT, ['Mgr']);
  assert.deepEqual([refused.verdict, refused.routeIndex, refused.rules], ['NotGranted', 0, [0, 2]]);
  const allowed = evaluate(source, INTERNET, []);
  assert.deepEqual([allowed.verdict, allowed.routeIndex, allowed.rules], ['Allowed', 1, [1]]);
  assert.deepEqual(evaluate(policy([]), INTERNET, []).rules, []);
});

test('[C76] a user in 200 groups is granted by the last of them', () => {
  const groups = Array.from({ length: 200 }, (_, i) => `group-${i}`);
  assert.equal(evaluate(policy(rules('group-199→0.0.0.0/0')), INTERNET, groups).verdict, 'Allowed');
});

test('[C69] any order of creation decides 10,000 packets like the oracle', (context) => {
  seeded(context);
  const random = randomFrom(SEED);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)];
  const names = ['A', 'B', 'C', 'D', 'E'];
  for (let round = 0; round < 20; round++) {
    const prefixes = Array.from({ length: 30 }, () => {
      const length = pick([0, 1, 8, 9, 15, 16, 20, 22, 24, 30, 31, 32]);
      const near = random() < 0.7 ? CLIENTS.address + Math.floor((random() - 0.5) * 65_536) : random() * 2 ** 32;
      return { address: (near & ipv4Mask(length)) >>> 0, length };
    });
    const source: PolicySource = {
      clientCidr: CLIENTS,
      gatewayAddress: address('10.8.0.1'),
      routes: [
        EVERYWHERE,
        ...prefixes.slice(0, 10).map((p) => ({ prefix: p, via: pick(['TargetNetwork', 'Local'] as const) })),
      ],
      rules: prefixes
        .slice(5)
        .map((p) =>
          random() < 0.3
            ? { prefix: p, allUsers: true, group: null }
            : { prefix: p, allUsers: false, group: pick(names) },
        ),
    };
    const shuffled = { ...source, routes: shuffle(source.routes, random), rules: shuffle(source.rules, random) };
    const interner = new GroupInterner();
    const views = [source, shuffled].map((one) => new PolicyView(compilePolicy(one, interner, 1).shared));
    const result = emptyEvaluation();
    for (let packet = 0; packet < 500; packet++) {
      const edge = pick(prefixes);
      const size = 2 ** (32 - edge.length);
      // The addresses beside a border are where range tables go wrong.
      const to = (random() < 0.5 ? edge.address + pick([-1, 0, size - 1, size]) : random() * 2 ** 32) >>> 0;
      const groups = names.filter(() => random() < 0.3);
      const expected = naiveEvaluate(source, to, new Set(groups));
      for (const view of views) {
        view.evaluate(random() < 0.5 ? to : to | 0, interner.idsOf(groups), result);
        assert.equal(result.verdict, expected, `${to >>> 0} for ${groups.join()}`);
      }
    }
  }
});

test('10,000 rules compile into a small table', () => {
  const random = randomFrom(7);
  const many = Array.from({ length: 10_000 }, (_, i) => {
    const length = 8 + Math.floor(random() * 25);
    const at = ((random() * 2 ** 32) & ipv4Mask(length)) >>> 0;
    return { prefix: { address: at, length }, allUsers: false, group: `group-${i % 500}` };
  });
  const { shared } = compilePolicy(policy(many), new GroupInterner(), 1);
  assert.ok(shared.byteLength < 1_000_000, `${shared.byteLength} bytes`);
});

test('a buffer that is no policy is refused', () => {
  assert.throws(() => new PolicyView(new SharedArrayBuffer(256)), { name: 'InternalError' });
});

function shuffle<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
