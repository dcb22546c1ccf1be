// What a data plane does that somebody else has taken over, and what its parent makes of it.
import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { commandOf, gatewayProcesses, isRunning, residentBytes } from '../support/gateway-processes.ts';
import { TARGETS } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { takenOver } from '../support/data-plane-script.ts';
import { waitFor } from '../support/wait.ts';
import { World } from '../support/world.ts';

const skip = skipWithoutNamespaces();
const MIB = 1024 * 1024;

test(
  'what a data plane has started ends with it, whatever it holds and whoever became its parent',
  { skip },
  async (t) => {
    const script = `
    const { spawn } = await import('node:child_process');
    const stdio = ['ignore', 'ignore', 'ignore', 4, 5, 6];
    spawn('setsid', ['--fork', 'sleep', 'infinity'], { detached: true, stdio });`;
    const world = await World.create(t, { environment: takenOver(script) });
    const { child } = await gatewayProcesses(world.gateway);
    const from = world.gateway.log.mark();
    process.kill(child, 'SIGUSR2');
    const left = await waitFor('what it starts', () => sleeping(world));
    assert.ok(holdsTun(left));
    process.kill(child, 'SIGKILL');
    await world.gateway.log.waitFor(/The data plane is back/, { from });
    assert.equal(isRunning(left), false);
  },
);

for (const { what, script, reason, most } of [
  {
    what: 'sends a line without an end',
    script: `
      const piece = 'x'.repeat(65_536);
      const more = () => channel.write(piece, (error) => error ? undefined : more());
      more();`,
    reason: /"cause":"A line is longer than \d+ bytes"/,
    most: 128 * MIB,
  },
  {
    what: 'reads nothing and asks for answers',
    // Each is answered with its number, which is none.
    script: `
      channel._handle.readStop();
      const question = JSON.stringify({ kind: 'codesUsed', sequence: 'x'.repeat(1_048_576), totpSteps: [] });
      const more = () => channel.write(question + '\\n', (error) => error ? undefined : more());
      more();`,
    reason: /"cause":"it does not read what it is told"/,
    most: 320 * MIB,
  },
  {
    what: 'closes its channel and stays',
    script: `channel.end(); setInterval(() => undefined, 1_000);`,
    reason: /"cause":"it was killed by SIGKILL"/,
    most: 128 * MIB,
  },
]) {
  test(`a data plane that ${what} is killed and replaced`, { skip }, async (t) => {
    const world = await World.create(t, { environment: takenOver(script) });
    const client = await world.connect({ options: ['--connect-retry', '1', '1', '--connect-timeout', '2'] });
    const { parent, child } = await gatewayProcesses(world.gateway);
    const before = residentBytes(parent);
    const from = world.gateway.log.mark();
    const clientFrom = client.log.mark();
    process.kill(child, 'SIGUSR2');
    await world.gateway.log.waitFor(reason, { from });
    assert.equal(isRunning(child), false);
    const grown = residentBytes(parent) - before;
    t.diagnostic(`the parent grew by ${Math.round(grown / MIB)} MiB`);
    assert.ok(grown < most, `${grown} bytes`);
    await world.gateway.log.waitFor(/The data plane is back/, { from });
    client.signal('SIGUSR1');
    await client.connected({ from: clientFrom });
    await waitFor('the target', () => world.lab.client().ping(TARGETS.vpc));
  });
}

/** The process that sleeps for ever in the gateway's network namespace. */
function sleeping({ lab }: World): number | undefined {
  const pids = lab.gateway.must('ip', 'netns', 'pids', lab.gateway.name).trim().split('\n').map(Number);
  return pids.find((pid) => commandOf(pid).startsWith('sleep'));
}

function holdsTun(pid: number): boolean {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).some((fd) => readlinkSync(`${folder}/${fd}`) === '/dev/net/tun');
}
