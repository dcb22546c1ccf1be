import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseVictim, type Standing } from '../../../../dataplane/sessions/eviction.ts';

const alone: Standing = { isAdvanced: false, crowd: 1 };
const crowded: Standing = { isAdvanced: false, crowd: 5 };
const advanced: Standing = { isAdvanced: true, crowd: 1 };
const advancedCrowd: Standing = { isAdvanced: true, crowd: 9 };

for (const { name, oldestFirst, victim } of [
  { name: 'nobody of nobody', oldestFirst: [], victim: undefined },
  { name: 'the oldest of equals', oldestFirst: [alone, { ...alone }], victim: 0 },
  { name: 'one of a crowd before an older one that is alone', oldestFirst: [alone, crowded], victim: 1 },
  { name: 'whoever has not finished TLS before any who has', oldestFirst: [advancedCrowd, advanced, alone], victim: 2 },
  { name: 'one of a crowd where all have finished TLS', oldestFirst: [advanced, advancedCrowd], victim: 1 },
])
  test(`chooses ${name}`, () => {
    const chosen = chooseVictim<Standing>(oldestFirst, (standing) => standing);
    assert.equal(chosen, victim === undefined ? undefined : oldestFirst[victim]);
  });

test('looks at the 64 oldest and no more', () => {
  let looked = 0;
  chooseVictim(Array.from({ length: 1_000 }).keys(), () => {
    looked += 1;
    return alone;
  });
  assert.equal(looked, 64);
});
