import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { skipWithoutNamespaces } from '../../../support/requirements.ts';

const PROGRAM = join(import.meta.dirname, '..', '..', '..', 'support', 'dying-gateway.ts');

// Tunnel threads sleep in the kernel; a process that waits for them without waking them never ends.
for (const [way, code] of [
  ['throw', 1],
  ['exit', 7],
] as const) {
  test(
    `the process is gone within 2 s of a ${way} in the control thread`,
    { skip: skipWithoutNamespaces() },
    async () => {
      const child = spawn(
        'unshare',
        ['--net', 'sh', '-c', 'ip link set lo up && exec "$0" "$@"', process.execPath, PROGRAM, way],
        {
          stdio: ['ignore', 'pipe', 'pipe'],
        },
      );
      const ended = once(child, 'exit') as Promise<[number | null]>;
      await Promise.race([once(child.stdout, 'data'), ended]);
      const killer = setTimeout(() => child.kill('SIGKILL'), 2_100);
      const [status] = await ended;
      clearTimeout(killer);
      assert.equal(status, code, 'null: it had to be killed');
    },
  );
}
