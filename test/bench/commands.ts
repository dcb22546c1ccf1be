import { text } from 'node:stream/consumers';
import { LabError, type Namespace } from '../support/netns.ts';

/** Runs a command in a namespace without blocking. @returns its standard output. @throws LabError unless it succeeds. */
export async function runIn(namespace: Namespace, command: string, arguments_: readonly string[]): Promise<string> {
  const child = namespace.spawn(command, arguments_, { stdio: ['ignore', 'pipe', 'pipe'] });
  if (child.stdout === null || child.stderr === null) throw new LabError(`${command} has no output`);
  const exited = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  if (status !== 0) throw new LabError(`${command} ${arguments_.join(' ')}: status ${status}: ${stderr}${stdout}`);
  return stdout;
}
