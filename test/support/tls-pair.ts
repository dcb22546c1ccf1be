import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { loadAddon } from '../../dataplane/io/load-addon.ts';
import { TlsEndpoint, type TlsCredentials, type TlsInput } from '../../dataplane/io/tls-endpoint.ts';

/** A TlsEndpoint and any number of real node:tls clients, joined in memory. */
export class TlsPair {
  readonly endpoint: TlsEndpoint;
  /** Everything the endpoint answered, in order. */
  readonly inputs: TlsInput[] = [];
  /** Sees what clients send. */
  tap: ((bytes: Uint8Array) => void) | null = null;
  readonly #wires = new Map<number, Duplex>();
  readonly #waiters = new Set<() => void>();

  constructor(credentials: TlsCredentials) {
    this.endpoint = new TlsEndpoint({ addon: loadAddon(), credentials, deliver: (input) => this.#onInput(input) });
  }

  /** Opens both ends; the handshake runs by itself. */
  connect(id: number, options: ConnectionOptions = {}): TLSSocket {
    this.endpoint.open(id);
    const wire = new Duplex({
      read() {},
      write: (chunk: Buffer, _encoding, done) => {
        this.tap?.(new Uint8Array(chunk));
        this.endpoint.input(id, chunk);
        done();
      },
    });
    this.#wires.set(id, wire);
    const client = connect({
      socket: wire,
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...options,
    });
    client.on('error', () => undefined);
    return client;
  }

  /** As `connect`, and resolves when both ends have finished their handshake. */
  async handshake(
    id: number,
    options: ConnectionOptions = {},
  ): Promise<{ readonly socket: TLSSocket; readonly ready: Extract<TlsInput, { kind: 'tlsReady' }> }> {
    const socket = this.connect(id, options);
    const [ready] = await Promise.all([this.next(id, 'tlsReady'), once(socket, 'secureConnect')]);
    return { socket, ready };
  }

  /** Resolves with the first answer of the kind for the connection, past or to come. */
  async next<K extends TlsInput['kind']>(id: number, kind: K): Promise<Extract<TlsInput, { kind: K }>> {
    for (;;) {
      const found = this.inputs.find((input) => input.tls === id && input.kind === kind);
      if (found !== undefined) return found as Extract<TlsInput, { kind: K }>;
      await new Promise<void>((resolve) => this.#waiters.add(resolve));
    }
  }

  /** Feeds bytes to the client as if they came from the endpoint. */
  toClient(id: number, bytes: Uint8Array): void {
    this.#wires.get(id)?.push(Buffer.from(bytes));
  }

  #onInput(input: TlsInput): void {
    this.inputs.push(input);
    if (input.kind === 'tlsOutput') this.toClient(input.tls, input.bytes);
    for (const wake of this.#waiters) wake();
    this.#waiters.clear();
  }
}

/** The next `bytes` bytes a client reads, as text. */
export async function textFrom(client: TLSSocket): Promise<string> {
  const [chunk] = (await once(client, 'data')) as [Buffer];
  return chunk.toString();
}
