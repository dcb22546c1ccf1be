import { setTimeout as sleep } from 'node:timers/promises';
import type { Report } from './report.ts';

export async function compareThreads(report: Report): Promise<void> {
  report.say('…');
  await sleep(0);
}
