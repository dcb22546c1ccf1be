// What the decision about a packet costs with few and many rules and groups: for a flow that is remembered, as nearly every
// packet's is, and for one that is not.
import { compilePolicy, GroupInterner, type PolicySource } from '../../dataplane/policy/policy-tables.ts';
import { PolicyView } from '../../dataplane/policy/evaluate.ts';
import { AccessCheck } from '../../dataplane/tunnel/access-check.ts';
import { address, prefix } from '../support/prefixes.ts';
import type { BenchContext } from './bench-context.ts';
import { Contention } from './machine.ts';
import { medianOf } from './report.ts';

export function benchRules(context: BenchContext): Promise<void> {
  const { report, runs } = context;
  const contention = new Contention();
  report.say(`One decision, median of ${runs} runs`);
  const rows = [
    { rules: 1, groups: 1 },
    { rules: 10_000, groups: 1 },
    { rules: 1, groups: 200 },
    { rules: 10_000, groups: 200 },
  ].map(({ rules, groups }) => {
    const interner = new GroupInterner();
    const view = new PolicyView(compilePolicy(policyWith(rules), interner, 1).shared);
    const held = interner.idsOf(Array.from({ length: groups }, (_, index) => `group-${index}`));
    const nanoseconds = (flows: number): number =>
      medianOf(Array.from({ length: runs }, () => timed(view, held, flows)));
    const result = { rules, groups, remembered: nanoseconds(1), anew: nanoseconds(ADDRESSES) };
    report.keep(`rules-${rules}-groups-${groups}`, result);
    return [`${rules} rules, ${groups} groups`, result.remembered.toFixed(1), result.anew.toFixed(1)];
  });
  report.table(['', 'ns, remembered', 'ns, never seen'], rows);
  context.sayContention(contention);
  return Promise.resolve();
}

/** Rules for hosts of 10.60.0.0/16, each for a group, all granted. */
function policyWith(rules: number): PolicySource {
  return {
    clientCidr: prefix('10.8.0.0/22'),
    gatewayAddress: address('10.8.0.1'),
    routes: [{ prefix: prefix('10.60.0.0/16'), via: 'TargetNetwork' }],
    rules: [
      { prefix: prefix('10.60.0.0/16'), allUsers: false, group: 'group-0' },
      ...Array.from({ length: rules - 1 }, (_, index) => ({
        prefix: prefix(`10.60.${(index + 256) >>> 8}.${index & 255}/32`),
        allUsers: false,
        group: `group-${index % 200}`,
      })),
    ],
  };
}

/** @returns nanoseconds for each decision about `flows` addresses in turn. */
function timed(view: PolicyView, groups: Int32Array, flows: number): number {
  const access = new AccessCheck();
  access.setPolicy(view);
  const first = address('10.60.0.0');
  let passed = 0;
  const decide = (count: number): void => {
    for (let i = 0; i < count; i++) if (access.decide(7, groups, (first + (i % flows)) | 0) < 0) passed++;
  };
  decide(DECISIONS / 10);
  const begun = process.hrtime.bigint();
  decide(DECISIONS);
  return passed === 0 ? NaN : Number(process.hrtime.bigint() - begun) / DECISIONS;
}

/** Four times what the memo holds: walked in turn, none is still there. */
const ADDRESSES = 65_536;
const DECISIONS = 1_000_000;
