import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { YOUNG_GENERATION_MB } from '../../../../dataplane/io/tunnel-thread-handle.ts';
import type { LoadJob, LoadReport } from '../../../support/forwarder-load.ts';

const PROGRAM = join(import.meta.dirname, '..', '..', '..', 'support', 'forwarder-load.ts');

test('a million packets leave the garbage collector nothing to do', async (context) => {
  const job: LoadJob = { packets: 500_000 };
  const worker = new Worker(PROGRAM, {
    workerData: job,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
  });
  const [report] = (await once(worker, 'message')) as [LoadReport];
  context.diagnostic(JSON.stringify(report));
  assert.ok(report.toNetwork >= 500_000 && report.toClients >= 500_000);
  assert.ok(report.scavengesOfLitter > 0);
  assert.ok(report.scavenges < 5, `${report.scavenges} scavenges`);
  assert.equal(report.otherCollections, 0);
  assert.ok(report.oldSpaceGrowthBytes < 256 * 1024, `old space grew by ${report.oldSpaceGrowthBytes} bytes`);
});
