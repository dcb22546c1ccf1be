import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { TwinFindings, TwinPlan } from './client-twin-main.ts';
import { LabError, type Namespace } from './netns.ts';

/** Runs our own client once, beside the server. */
export async function runTwin(server: Namespace, plan: TwinPlan): Promise<TwinFindings> {
  const twin = server.spawn(process.execPath, [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
  if (twin.stdout === null || twin.stdin === null) throw new LabError('The twin has no pipes');
  twin.stdin.end(JSON.stringify(plan));
  return JSON.parse(await text(twin.stdout)) as TwinFindings;
}

const PROGRAM = fileURLToPath(new URL('client-twin-main.ts', import.meta.url));
