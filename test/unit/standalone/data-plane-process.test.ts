import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { DataPlaneProcess, type DataPlaneExit, type DataPlaneNotice } from '../../../standalone/data-plane-process.ts';
import type { Enclosure } from '../../../standalone/enclosure.ts';
import { dataPlaneConfig } from '../../support/data-plane-configs.ts';

/** A process in the place of a data plane: it says these lines, each `…` in them a million bytes, reads nothing and stays. */
function saying(lines: readonly string[]): { process: DataPlaneProcess; notices: DataPlaneNotice[] } {
  const script = `
    const { Socket } = require('node:net');
    new Socket({ fd: 3 }).write(${JSON.stringify(lines.map((line) => `${line}\n`).join(''))}.replaceAll('…', 'x'.repeat(1_000_000)));
    setTimeout(() => undefined, 20_000);`;
  const stdio = ['ignore', 'ignore', 'inherit', 'pipe'] as const;
  const enclosure = { start: () => spawn(process.execPath, ['-e', script], { stdio: [...stdio] }) };
  const notices: DataPlaneNotice[] = [];
  const started = new DataPlaneProcess({
    enclosure: enclosure as unknown as Enclosure,
    descriptors: { udpTunnel: [], udpControl: null, tcp: [], tun: [] },
    output: { stdio: 1, release: () => undefined },
    start: {
      config: dataPlaneConfig(),
      memory: { leases: [], totpSteps: [] },
      tunName: 'tun0',
      metricsListen: null,
      logLevel: 'info',
    },
    onNotice: (notice) => notices.push(notice),
  });
  return { process: started, notices };
}

const NONSENSE = 'it says what has no meaning';

for (const { line, error } of [
  { line: 'null', error: NONSENSE },
  { line: '{"kind":"connections","requestId":1,"connections":{}}', error: NONSENSE },
  { line: '{"kind":"connections","requestId":1,"connections":[null]}', error: NONSENSE },
  { line: '{"kind":"leases","leases":{}}', error: NONSENSE },
  { line: '{"kind":"connections","requestId":1,"connections":[]}', error: 'it says more than it has to: connections' },
  { line: '{"kind":"codesUsed","fill":"…"}', error: 'A line is longer than 65538 bytes' },
  {
    line: `{"kind":"leases","fill":"${'x'.repeat(70_000)}","kind":"failed","reason":""}`,
    error: 'it says more at once than there is: failed',
  },
]) {
  test(`a data plane that says ${line.slice(0, 60)} is killed by name, and what else it says is not heard`, async () => {
    const { process: child, notices } = saying(['{"kind":"ready"}', line, '{"kind":"failed","reason":"late"}']);
    const expected: DataPlaneExit = { code: null, signal: 'SIGKILL', error };
    assert.deepEqual(await child.exited, expected);
    assert.deepEqual(notices, [{ kind: 'ready' }]);
  });
}

test('a data plane that does not read what it is told is killed', async () => {
  const { process: child } = saying([]);
  const config = dataPlaneConfig({ serverCertificatePem: 'x'.repeat(32 * 1024 * 1024) });
  for (let count = 0; count < 6; count += 1) child.apply(config);
  assert.equal((await child.exited).error, 'it does not read what it is told');
});
