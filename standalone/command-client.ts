import { closeSync, openSync } from 'node:fs';
import { once } from 'node:events';
import { connect } from 'node:net';
import { TerminalError } from '../net/errors.ts';
import { COMMAND_SOCKET, MAX_ANSWER_BYTES, type CommandAnswer, type CommandRequest } from './command-protocol.ts';
import { readJsonLines } from '../dataplane/io/json-lines.ts';
import { StateFolder } from './state-folder.ts';

/** Asks the gateway that runs on this state folder. @throws TerminalError when none does, or what it answers */
export async function askGateway(
  stateDir: string,
  request: CommandRequest,
): Promise<Exclude<CommandAnswer, { kind: 'error' }>> {
  const folder = StateFolder.open(stateDir);
  const directory = openSync(folder.path, 'r');
  try {
    const socket = connect(`/proc/self/fd/${directory}/${COMMAND_SOCKET}`);
    let answer: CommandAnswer | undefined;
    readJsonLines(socket, MAX_ANSWER_BYTES, (value) => (answer = value as CommandAnswer));
    socket.write(`${JSON.stringify(request)}\n`);
    await once(socket, 'close');
    if (answer === undefined) throw new TerminalError('The gateway closed the connection without an answer');
    if (answer.kind === 'error') throw new TerminalError(answer.message);
    return answer;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ECONNREFUSED')
      throw new TerminalError(`No gateway is running on ${folder.path}`, { cause });
    if (code === 'EACCES')
      throw new TerminalError(`Only root may ask the gateway on ${folder.path}. Use sudo.`, { cause });
    throw cause;
  } finally {
    closeSync(directory);
  }
}
