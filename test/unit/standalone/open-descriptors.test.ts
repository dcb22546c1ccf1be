import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tunnelThreads } from '../../../standalone/open-descriptors.ts';

for (const [cores, threads] of [
  [1, 1],
  [2, 1],
  [3, 2],
  [4, 2],
  [5, 4],
  [8, 4],
  [64, 4],
] as const)
  test(`${cores} cores have ${threads} tunnel threads`, () => assert.equal(tunnelThreads(cores), threads));
