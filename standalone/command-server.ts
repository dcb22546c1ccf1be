import { closeSync, openSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import {
  COMMAND_SOCKET,
  isCommandRequest,
  MAX_REQUEST_BYTES,
  type CommandAnswer,
  type CommandRequest,
} from './command-protocol.ts';
import { readJsonLines } from '../dataplane/io/json-lines.ts';
import type { StateFolder } from './state-folder.ts';

/** Answers `clientvpn status`, `connections` and `terminate` of root on this machine. */
export class CommandServer {
  readonly #server: Server;
  /** The kernel takes 107 bytes of path; by way of the open folder any state folder will do. */
  readonly #directory: number;
  readonly #open = new Set<Socket>();

  private constructor(folder: StateFolder, answer: (request: CommandRequest) => Promise<CommandAnswer>) {
    this.#directory = openSync(folder.path, 'r');
    this.#server = createServer((socket) => this.#serve(socket, answer));
  }

  static async listen(
    folder: StateFolder,
    answer: (request: CommandRequest) => Promise<CommandAnswer>,
  ): Promise<CommandServer> {
    // What a killed run left; the lock on the folder says that nobody listens there.
    folder.remove(COMMAND_SOCKET);
    const command = new CommandServer(folder, answer);
    command.#server.listen(`/proc/self/fd/${command.#directory}/${COMMAND_SOCKET}`);
    await once(command.#server, 'listening');
    await chmod(folder.pathOf(COMMAND_SOCKET), 0o600);
    return command;
  }

  close(): void {
    for (const socket of this.#open) socket.destroy();
    // The server removes its socket by the path it was given, so the folder stays open until then.
    this.#server.close(() => closeSync(this.#directory));
  }

  #serve(socket: Socket, answer: (request: CommandRequest) => Promise<CommandAnswer>): void {
    this.#open.add(socket);
    socket.on('close', () => this.#open.delete(socket));
    socket.on('error', () => undefined);
    socket.setTimeout(IDLE_LIMIT_MS, () => socket.destroy());
    readJsonLines(socket, MAX_REQUEST_BYTES, (value) => {
      void answerTo(value, answer).then((reply) => socket.end(`${JSON.stringify(reply)}\n`));
    });
  }
}

async function answerTo(
  value: unknown,
  answer: (request: CommandRequest) => Promise<CommandAnswer>,
): Promise<CommandAnswer> {
  if (!isCommandRequest(value)) return { kind: 'error', message: 'The gateway does not know this command' };
  try {
    return await answer(value);
  } catch (error) {
    return { kind: 'error', message: error instanceof Error ? error.message : String(error) };
  }
}

const IDLE_LIMIT_MS = 30_000;
