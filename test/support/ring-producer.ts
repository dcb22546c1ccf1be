// A worker that fills a ring with records whose bytes tell their number; see ring.test.ts.
import { workerData } from 'node:worker_threads';
import { ByteRing } from '../../dataplane/io/ring.ts';
import { randomFrom } from './seed.ts';

export interface RingJob {
  readonly shared: SharedArrayBuffer;
  readonly records: number;
  readonly longest: number;
  readonly seed: number;
}

const job = workerData as RingJob;
const ring = new ByteRing(job.shared);
const random = randomFrom(job.seed);
for (let record = 0; record < job.records; record++) {
  const length = Math.floor(random() * (job.longest + 1));
  let at = ring.reserve(length);
  while (at < 0) at = ring.reserve(length);
  for (let i = 0; i < length; i++) ring.bytes[at + i] = record + i;
  ring.publish();
}
