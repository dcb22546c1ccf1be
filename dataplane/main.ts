import { parseArgs } from 'node:util';
import { DataPlane } from './io/data-plane.ts';
import { SupervisorChannel } from './io/supervisor-channel.ts';
import type { SupervisorMessage } from './process-messages.ts';

/** Longest goodbye when no supervisor says how long. */
const GOODBYE_MS = 1_200;

const { values } = parseArgs({ options: { 'channel-fd': { type: 'string' } } });
const fd = Number(values['channel-fd']);
if (!Number.isInteger(fd) || fd < 3) {
  process.stderr.write('The data plane is started by its supervisor: expected --channel-fd N with N ≥ 3\n');
  process.exit(2);
}

let plane: DataPlane | undefined;
let stopping = false;

const channel = new SupervisorChannel(fd, {
  onMessage: (message) => void onMessage(message).catch(fail),
  onEnd: (reason, fault) => {
    if (fault !== undefined) logFailure(reason);
    void stop(reason).catch(fail);
  },
});
// It ends with its stack on standard error; the reason is for the supervisor's log.
process.on('uncaughtExceptionMonitor', (error) => channel.send({ kind: 'failed', reason: error.message }));
process.on('SIGTERM', () => void stop('signal').catch(fail));
// The terminal's Ctrl-C reaches the whole process group; the supervisor decides.
process.on('SIGINT', () => undefined);

async function onMessage(message: SupervisorMessage): Promise<void> {
  if (message.kind === 'start') {
    plane = await DataPlane.start(message.start, channel);
    channel.send({ kind: 'ready' });
    return;
  }
  if (plane === undefined) return;
  switch (message.kind) {
    case 'config':
      return plane.apply(message.config);
    case 'listConnections':
      return channel.send({
        kind: 'connections',
        requestId: message.requestId,
        connections: plane.connections(),
      });
    case 'terminate':
      return channel.send({
        kind: 'terminated',
        requestId: message.requestId,
        found: plane.terminate(message.connectionId),
      });
    case 'manifestsJudged':
      return plane.manifestsJudged(message.areRefused);
    case 'codesKept':
      return plane.codesKept(message.sequence);
    case 'shutdown':
      return stop('shutdown', message.limitMs);
  }
}

async function stop(reason: string, limitMs = GOODBYE_MS): Promise<void> {
  if (stopping) return;
  stopping = true;
  await plane?.stop(reason, limitMs);
  channel.close();
  process.exit(0);
}

function fail(error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  channel.send({ kind: 'failed', reason });
  logFailure(reason);
  process.exitCode = 1;
  // Lets the line above leave; the workers are told by the exit handler of the tunnel host.
  setTimeout(() => process.exit(1), 50).unref();
}

function logFailure(reason: string): void {
  const line = { level: 'error', time: new Date().toISOString(), cause: reason, msg: 'Data plane failed' };
  process.stderr.write(`${JSON.stringify(line)}\n`);
}
