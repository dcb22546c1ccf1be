// `block-main-thread.ts MILLISECONDS PID…`, inside the processes' network namespace: finds the one that runs as 65532,
// opens its inspector and keeps its main thread from doing anything for that long. Ends when the block has ended.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const [milliseconds, ...pids] = process.argv.slice(2);
const pid = pids.map(Number).find((candidate) => {
  try {
    return /^Uid:\t65532\t/m.test(readFileSync(`/proc/${candidate}/status`, 'utf8'));
  } catch {
    return false;
  }
});
if (pid === undefined) {
  console.error('no process runs as 65532');
  process.exit(1);
}
process.kill(pid, 'SIGUSR1');
const socket = new WebSocket(await debuggerUrl());
await new Promise((resolve) => socket.addEventListener('open', resolve, { once: true }));
const answer = new Promise((resolve) => socket.addEventListener('message', resolve, { once: true }));
const expression = `Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${milliseconds})`;
socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } }));
const { data } = (await answer) as { data: string };
if (!data.includes('timed-out')) {
  console.error(data);
  process.exit(1);
}
process.exit(0);

async function debuggerUrl(): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    try {
      const response = await fetch('http://127.0.0.1:9229/json/list');
      const [page] = (await response.json()) as { webSocketDebuggerUrl: string }[];
      if (page !== undefined) return page.webSocketDebuggerUrl;
    } catch {
      // The inspector is still starting.
    }
    await sleep(50);
  }
  console.error('the inspector did not open');
  process.exit(1);
}
