import type { PresentedCertificate } from '../../api/authentication.ts';
import { InternalError } from '../../net/errors.ts';
import { utf8Bytes } from '../protocol/bytes.ts';
import type { HandshakeFailure } from '../protocol/reasons.ts';
import type { Input, TlsId } from '../sessions/engine-io.ts';
import { type NativeAddon, TlsState } from './native-addon.ts';

export type TlsInput = Extract<Input, { kind: 'tlsOutput' | 'tlsPlaintext' | 'tlsReady' | 'tlsFailed' }>;

export interface TlsCredentials {
  /** Leaf first, then intermediates. */
  readonly certificatePem: string;
  readonly keyPem: string;
  /** Bundle that client certificates are verified against; null asks for no client certificate. */
  readonly clientCaPem: string | null;
}

export interface TlsEndpointOptions {
  readonly addon: NativeAddon;
  readonly credentials: TlsCredentials;
  /** Gets every answer, in order, never from within a call of a method here. */
  readonly deliver: (input: TlsInput) => void;
}

/**
 * The server side of TLS, without a network: bytes go in and out by TlsId.
 *
 * A client certificate is never refused here: its verdict travels in `tlsReady`, so that the
 * client can be told. Each connection ends with `close` or with its `tlsFailed`, whichever is first;
 * nothing is delivered for it afterwards. An alert is delivered as `tlsOutput` before `tlsFailed`.
 */
export class TlsEndpoint {
  readonly #addon: NativeAddon;
  readonly #deliver: (input: TlsInput) => void;
  readonly #connections = new Map<TlsId, Connection>();
  readonly #pending: { readonly connection: Connection; readonly input: TlsInput }[] = [];
  readonly #record = new Uint8Array(MAX_RECORD_BYTES);
  #scheduled = false;
  #context: TlsContext;

  constructor(options: TlsEndpointOptions) {
    this.#addon = options.addon;
    this.#deliver = options.deliver;
    this.#context = this.#createContext(options.credentials);
  }

  /** Connections that are neither closed nor failed. */
  get size(): number {
    return this.#connections.size;
  }

  /** @throws InternalError when the id is in use. */
  open(id: TlsId): void {
    if (this.#connections.has(id)) throw new InternalError(`TLS connection ${id} is already open`);
    const { handle, mutual } = this.#context;
    this.#connections.set(id, {
      id,
      handle: this.#addon.tlsOpen(handle),
      mutual,
      ready: false,
      failed: false,
      receivedBytes: 0,
      undeliveredBytes: 0,
    });
  }

  /** Takes TLS bytes from the client; they are copied. Unknown ids are ignored: the connection may just have failed. */
  input(id: TlsId, bytes: Uint8Array): void {
    const connection = this.#connections.get(id);
    if (connection === undefined || connection.failed || bytes.length === 0) return;
    connection.receivedBytes += bytes.length;
    if (!connection.ready && connection.receivedBytes > MAX_HANDSHAKE_BYTES) {
      this.#fail(connection, 'handshake-too-large');
      return;
    }
    this.#addon.tlsReceive(connection.handle, bytes);
    this.#advance(connection);
  }

  /** Sends one plaintext message as one record; ≤ 16,384 bytes, and only after `tlsReady`. */
  write(id: TlsId, bytes: Uint8Array): void {
    const connection = this.#connections.get(id);
    if (connection === undefined || connection.failed) return;
    if (!connection.ready) throw new InternalError(`TLS connection ${id} is written to before it is ready`);
    if (bytes.length > MAX_RECORD_BYTES)
      throw new InternalError(`TLS message of ${bytes.length} bytes exceeds a record`);
    const written = this.#addon.tlsWrite(connection.handle, bytes);
    this.#takeOutput(connection);
    if (written <= 0) this.#fail(connection, this.#reasonOf(connection));
    else if (connection.undeliveredBytes > MAX_UNDELIVERED_BYTES) this.#fail(connection, 'output-queue-full');
  }

  /** Forgets the connection without a word to the client. Does nothing for an unknown id. */
  close(id: TlsId): void {
    const connection = this.#connections.get(id);
    if (connection !== undefined) this.#release(connection);
  }

  /** Handshakes that start from now on use these; others go on with what they have. Throws what TLS says about bad PEM. */
  setCredentials(credentials: TlsCredentials): void {
    const former = this.#context;
    this.#context = this.#createContext(credentials);
    this.#addon.tlsContextFree(former.handle);
  }

  #createContext({ certificatePem, keyPem, clientCaPem }: TlsCredentials): TlsContext {
    const [certificate, key, authorities] = [certificatePem, keyPem, clientCaPem ?? ''].map(utf8Bytes);
    return { handle: this.#addon.tlsContext(certificate, key, authorities), mutual: clientCaPem !== null };
  }

  #advance(connection: Connection): void {
    for (;;) {
      const result = this.#addon.tlsRead(connection.handle, this.#record);
      this.#takeOutput(connection);
      if (result > 0) {
        this.#report(connection, {
          kind: 'tlsPlaintext',
          tls: connection.id,
          bytes: this.#record.slice(0, result),
        });
        // It may have been a password.
        this.#record.fill(0, 0, result);
      } else if (result === TlsState.HandshakeDone) {
        this.#secured(connection);
      } else if (result === TlsState.More) {
        return;
      } else {
        this.#fail(connection, result === TlsState.Closed ? 'closed-by-client' : this.#reasonOf(connection));
        return;
      }
    }
  }

  #takeOutput(connection: Connection): void {
    for (;;) {
      const count = this.#addon.tlsTake(connection.handle, this.#record);
      if (count === 0) return;
      connection.undeliveredBytes += count;
      this.#report(connection, { kind: 'tlsOutput', tls: connection.id, bytes: this.#record.slice(0, count) });
    }
  }

  #secured(connection: Connection): void {
    connection.ready = true;
    const [version, verdict, resumed, ...chain] = this.#addon.tlsPeer(connection.handle);
    const certificate: PresentedCertificate | null =
      connection.mutual && chain.length > 0 ? { chain, authorizationError: verdict === '' ? null : verdict } : null;
    this.#report(connection, {
      kind: 'tlsReady',
      tls: connection.id,
      certificate,
      resumed,
      version,
      dataKeys: this.#exported(connection, 0),
      dynamicTlsCrypt: this.#exported(connection, 1),
    });
  }

  #exported(connection: Connection, label: 0 | 1): Uint8Array {
    const bytes = new Uint8Array(EXPORT_BYTES);
    this.#addon.tlsExport(connection.handle, label, bytes);
    return bytes;
  }

  /** As OpenSSL calls it: `tls-wrong-version-number`. */
  #reasonOf(connection: Connection): HandshakeFailure {
    const words = this.#addon
      .tlsReason(connection.handle)
      .toLowerCase()
      .match(/[a-z0-9]+/g) ?? ['unknown'];
    return `tls-${words.join('-')}`;
  }

  #fail(connection: Connection, reason: HandshakeFailure): void {
    connection.failed = true;
    this.#report(connection, { kind: 'tlsFailed', tls: connection.id, reason });
  }

  #report(connection: Connection, input: TlsInput): void {
    this.#pending.push({ connection, input });
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.#drain());
  }

  #drain(): void {
    try {
      for (let next = this.#pending.shift(); next !== undefined; next = this.#pending.shift()) {
        const { connection, input } = next;
        if (this.#connections.get(connection.id) !== connection) continue;
        if (input.kind === 'tlsFailed') this.#release(connection);
        else if (input.kind === 'tlsOutput') connection.undeliveredBytes -= input.bytes.length;
        this.#deliver(input);
      }
    } finally {
      this.#scheduled = false;
      // A receiver that threw took one answer with it; the others are still owed.
      if (this.#pending.length > 0) this.#schedule();
    }
  }

  #release(connection: Connection): void {
    this.#connections.delete(connection.id);
    this.#addon.tlsClose(connection.handle);
  }
}

interface TlsContext {
  readonly handle: number;
  /** Whether clients are asked for a certificate. */
  readonly mutual: boolean;
}

interface Connection {
  readonly id: TlsId;
  readonly handle: number;
  readonly mutual: boolean;
  ready: boolean;
  failed: boolean;
  receivedBytes: number;
  undeliveredBytes: number;
}

const EXPORT_BYTES = 256;
const MAX_RECORD_BYTES = 16_384;
// A chain with generous RSA certificates is 10 KB; the addon stops at 32 KB of certificates.
const MAX_HANDSHAKE_BYTES = 131_072;
// More than the largest message of any client (262,144 bytes, with its records' overhead).
const MAX_UNDELIVERED_BYTES = 327_680;
