import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Gateway } from './gateway.ts';
import { endpoint, rule, targetNetwork, yamlOf } from './manifests.ts';
import { Lab } from './netns.ts';
import { StockClient } from './stock-client.ts';

export const MANIFESTS = { 'all.yaml': yamlOf(endpoint(), targetNetwork(), rule('192.168.0.0/24')) };

export function lab(t: TestContext, clients = 1): Lab {
  const made = new Lab({ clients });
  t.after(() => made[Symbol.dispose]());
  return made;
}

/** A gateway that has started, and ends with the test. */
export async function running(t: TestContext, options: ConstructorParameters<typeof Gateway>[0]): Promise<Gateway> {
  const gateway = new Gateway(options);
  // Before the lab goes: handlers run in the order in which they were added.
  t.after(async () => {
    if (!(t as TestContext & { readonly passed: boolean }).passed) console.log(gateway.log.lines.slice(-40).join('\n'));
    gateway.signal('SIGKILL');
    await gateway.exited();
  });
  await gateway.start();
  return gateway;
}

export async function connected(gateway: Gateway, lab: Lab, index = 0): Promise<StockClient> {
  const profile = gateway.clientConfig({ client: `client-${index + 1}` });
  const client = new StockClient({ namespace: lab.client(index), folder: lab.folder, name: `c${index}`, profile });
  return client.connected();
}

export function dataPlanePid(gateway: Gateway): number {
  const record = JSON.parse(readFileSync(join(gateway.stateDir, 'run.json'), 'utf8')) as {
    readonly dataPlane: { readonly pid: number };
  };
  return record.dataPlane.pid;
}
