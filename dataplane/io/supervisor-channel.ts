import { Socket } from 'node:net';
import type { DataPlaneMessage, SupervisorMessage } from '../process-messages.ts';
import { readJsonLines } from './json-lines.ts';

/** JSON lines over an inherited socket. The end of the channel is reported once. */
export class SupervisorChannel {
  readonly #socket: Socket;

  constructor(
    fd: number,
    handlers: {
      onMessage: (message: SupervisorMessage) => void;
      /** `fault` when it was not the supervisor that ended it. */
      onEnd: (reason: string, fault?: Error) => void;
    },
  ) {
    this.#socket = new Socket({ fd, readable: true, writable: true });
    // Whoever holds the other end started this process.
    readJsonLines(this.#socket, MAX_LINE_BYTES, (value) => handlers.onMessage(value as SupervisorMessage));
    let fault: Error | undefined;
    this.#socket.on('error', (error) => (fault = error));
    this.#socket.on('close', () => {
      if (fault === undefined) handlers.onEnd('the supervisor is gone');
      else handlers.onEnd(`the supervisor's channel failed: ${fault.message}`, fault);
    });
  }

  send(message: DataPlaneMessage): void {
    if (!this.#socket.destroyed) this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** Whether something is queued that the system has no room for yet. */
  get isBehind(): boolean {
    return this.#socket.writableLength > 0;
  }

  /** Sends what is queued, then closes. */
  close(): void {
    this.#socket.end();
  }
}

/** 20,000 revoked serials and 50,000 users fit; beyond this the supervisor is broken. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;
