// Logs in many times, each time as a new session, for `make bench`. The plan is JSON on standard input, the findings one
// line of JSON on standard output.
import { text } from 'node:stream/consumers';
import { createSecureContext } from 'node:tls';
import { ClientDriver } from '../support/client-driver.ts';

export interface LoginLoadPlan {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  readonly logins: number;
  readonly perSecond: number;
}

export interface LoginLoadFindings {
  readonly succeeded: number;
  readonly medianMs: number;
}

const TIMEOUT_MS = 20_000;

if (import.meta.main) {
  const plan = JSON.parse(await text(process.stdin)) as LoginLoadPlan;
  const findings = await carryOut(plan);
  process.stdout.write(`${JSON.stringify(findings)}\n`, () => process.exit(0));
}

async function carryOut({ logins, perSecond, host, port, ...identity }: LoginLoadPlan): Promise<LoginLoadFindings> {
  const secureContext = createSecureContext({ ca: identity.ca, cert: identity.certificate, key: identity.key });
  const times: number[] = [];
  const begun = performance.now();
  const all: Promise<void>[] = [];
  for (let i = 0; i < logins; i++) {
    const wait = begun + (i * 1000) / perSecond - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    all.push(logInOnce());
  }
  await Promise.all(all);
  times.sort((a, b) => a - b);
  return { succeeded: times.length, medianMs: times[times.length >> 1] ?? NaN };

  function logInOnce(): Promise<void> {
    return new Promise((resolve) => {
      const start = performance.now();
      const end = (): void => {
        clearTimeout(timeout);
        setImmediate(() => driver.close());
        resolve();
      };
      const timeout = setTimeout(end, TIMEOUT_MS);
      const driver = new ClientDriver({
        host,
        port,
        tls: { secureContext },
        config: { pushRequestMs: 50 },
        onOutput: (output) => {
          if (output.kind === 'connected') {
            times.push(performance.now() - start);
            driver.handle({ kind: 'exit' });
            end();
          } else if (output.kind === 'closed') end();
        },
      });
      driver.start();
    });
  }
}
