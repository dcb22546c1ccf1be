// `heap-main.ts URL…`, inside the namespace where the inspectors listen: for each line on standard input, prints the
// bytes that live on each process's heap, as a JSON array.
import { createInterface } from 'node:readline';

const sessions = await Promise.all(process.argv.slice(2).map(open));
for await (const line of createInterface({ input: process.stdin })) {
  const used: number[] = [];
  for (const ask of sessions) {
    if (line === 'collect') await ask('HeapProfiler.collectGarbage');
    const { usedSize } = (await ask('Runtime.getHeapUsage')) as { usedSize: number };
    used.push(usedSize);
  }
  process.stdout.write(`${JSON.stringify(used)}\n`);
}
process.exit(0);

async function open(url: string): Promise<(method: string) => Promise<unknown>> {
  const socket = new WebSocket(url);
  await new Promise((resolve) => socket.addEventListener('open', resolve, { once: true }));
  let id = 0;
  return (method) =>
    new Promise((resolve) => {
      const wanted = ++id;
      const onMessage = (event: MessageEvent): void => {
        const answer = JSON.parse(String(event.data)) as { id?: number; result?: unknown };
        if (answer.id !== wanted) return;
        socket.removeEventListener('message', onMessage);
        resolve(answer.result);
      };
      socket.addEventListener('message', onMessage);
      socket.send(JSON.stringify({ id: wanted, method }));
    });
}
