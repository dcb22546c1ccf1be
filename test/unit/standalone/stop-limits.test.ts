import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DATA_PLANE_END_MS, GOODBYE_MS, LOG_FLUSH_MS } from '../../../standalone/stop-limits.ts';

test('all that a stop may wait for leaves half of its 5 s to its own work', () => {
  assert.ok(GOODBYE_MS + DATA_PLANE_END_MS + 2 * LOG_FLUSH_MS <= 2_500);
});
