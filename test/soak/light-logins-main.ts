// `light-logins-main.ts`, inside a client's namespace, the plan as one JSON object on standard input: logs in, stays a
// moment, leaves, over and over, and prints a line for each attempt.
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientDriver } from '../support/client-driver.ts';
import { waitFor, WaitError } from '../support/wait.ts';

export interface LightLoginsPlan {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  readonly intervalMs: number;
}

export interface LoginAttempt {
  readonly ok: boolean;
  readonly seconds: number;
}

const LOGIN_LIMIT_MS = 20_000;
const GOODBYE_MS = 200;

async function logInOnce(plan: LightLoginsPlan): Promise<LoginAttempt> {
  const started = performance.now();
  const driver = new ClientDriver({
    host: plan.host,
    port: plan.port,
    tls: { ca: plan.ca, cert: plan.certificate, key: plan.key },
    config: { retransmitMs: 500, pushRequestMs: 100 },
    onOutput: () => undefined,
  });
  driver.start();
  let ok = true;
  try {
    await waitFor('the login', () => driver.machine.isConnected, LOGIN_LIMIT_MS);
  } catch (error) {
    if (!(error instanceof WaitError)) throw error;
    ok = false;
  }
  driver.handle({ kind: 'exit' });
  await sleep(GOODBYE_MS);
  driver.close();
  return { ok, seconds: (performance.now() - started - GOODBYE_MS) / 1000 };
}

if (import.meta.main) {
  const plan = JSON.parse(await text(process.stdin)) as LightLoginsPlan;
  for (;;) {
    const attempt = await logInOnce(plan);
    process.stdout.write(`${JSON.stringify(attempt)}\n`);
    await sleep(plan.intervalMs);
  }
}
