import { Socket } from 'node:net';
import type { DataPlaneMessage, SupervisorMessage } from '../process-messages.ts';

/** A message line can hold 20,000 revoked serials and 50,000 users; beyond this the supervisor is broken. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;

/** JSON lines over an inherited socket. The end of the channel is reported once. */
export class SupervisorChannel {
  readonly #socket: Socket;

  constructor(
    fd: number,
    handlers: { onMessage: (message: SupervisorMessage) => void; onEnd: (reason: string) => void },
  ) {
    this.#socket = new Socket({ fd, readable: true, writable: true });
    let chunks: Buffer[] = [];
    let held = 0;
    let ended = false;
    const end = (reason: string): void => {
      if (ended) return;
      ended = true;
      handlers.onEnd(reason);
    };
    this.#socket.on('data', (data: Buffer) => {
      for (let start = 0; ;) {
        const newline = data.indexOf(10, start);
        if (newline < 0) {
          chunks.push(data.subarray(start));
          held += data.length - start;
          if (held > MAX_LINE_BYTES) this.#socket.destroy();
          return;
        }
        const line = Buffer.concat([...chunks, data.subarray(start, newline)]).toString('utf8');
        chunks = [];
        held = 0;
        start = newline + 1;
        handlers.onMessage(JSON.parse(line) as SupervisorMessage);
      }
    });
    this.#socket.on('error', (error) => end(`supervisor channel failed: ${error.message}`));
    this.#socket.on('close', () => end('supervisor is gone'));
  }

  send(message: DataPlaneMessage): void {
    if (!this.#socket.destroyed) this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** Flushes and closes; onEnd is still called. */
  close(): void {
    this.#socket.end();
  }
}
