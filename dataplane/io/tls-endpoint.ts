import { AsyncLocalStorage } from 'node:async_hooks';
import { constants } from 'node:crypto';
import { Duplex } from 'node:stream';
import { createServer, type DetailedPeerCertificate, type SecureVersion, type Server, type TLSSocket } from 'node:tls';
import type { PresentedCertificate } from '../../api/authentication.ts';
import { InternalError } from '../../net/errors.ts';
import type { Input, TlsId } from '../sessions/engine-io.ts';

export type TlsInput = Extract<Input, { kind: 'tlsOutput' | 'tlsPlaintext' | 'tlsReady' | 'tlsFailed' }>;

export interface TlsCredentials {
  /** Leaf first, then intermediates. */
  readonly certificatePem: string;
  readonly keyPem: string;
  /** Bundle that client certificates are verified against; null asks for no client certificate. */
  readonly clientCaPem: string | null;
  readonly minVersion?: SecureVersion;
}

export interface TlsEndpointOptions {
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
  readonly #deliver: (input: TlsInput) => void;
  readonly #connections = new Map<TlsId, Connection>();
  // The server's events name a socket but not whose it is; the handshake's asynchronous context does.
  readonly #context = new AsyncLocalStorage<Connection>();
  readonly #pending: { readonly connection: Connection; readonly input: TlsInput }[] = [];
  #scheduled = false;
  #server: Server;

  constructor(options: TlsEndpointOptions) {
    this.#deliver = options.deliver;
    this.#server = this.#createServer(options.credentials);
  }

  /** Connections that are neither closed nor failed. */
  get size(): number {
    return this.#connections.size;
  }

  /** @throws InternalError when the id is in use. */
  open(id: TlsId): void {
    if (this.#connections.has(id)) throw new InternalError(`TLS connection ${id} is already open`);
    const connection: Connection = {
      id,
      wire: new WireStream((bytes) => this.#report(connection, { kind: 'tlsOutput', tls: id, bytes })),
      socket: null,
      receivedBytes: 0,
      writes: [],
      writesBytes: 0,
      writing: false,
    };
    connection.wire.once('error', (error) => this.#fail(connection, reasonOf(error)));
    this.#connections.set(id, connection);
    this.#context.run(connection, () => this.#server.emit('connection', connection.wire));
  }

  /** Takes TLS bytes from the client; they are copied. Unknown ids are ignored: the connection may just have failed. */
  input(id: TlsId, bytes: Uint8Array): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    connection.receivedBytes += bytes.length;
    if (connection.socket === null && connection.receivedBytes > MAX_HANDSHAKE_BYTES) {
      this.#fail(connection, 'handshake-too-large');
    } else if (connection.wire.readableLength > MAX_QUEUED_BYTES) {
      this.#fail(connection, 'input-queue-full');
    } else {
      connection.wire.push(Buffer.from(bytes));
    }
  }

  /** Sends one plaintext message as one record; ≤ 16,384 bytes, and only after `tlsReady`. */
  write(id: TlsId, bytes: Uint8Array): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    if (connection.socket === null) throw new InternalError(`TLS connection ${id} is written to before it is ready`);
    if (bytes.length > MAX_RECORD_BYTES)
      throw new InternalError(`TLS message of ${bytes.length} bytes exceeds a record`);
    connection.writesBytes += bytes.length;
    if (connection.writesBytes > MAX_QUEUED_BYTES) {
      this.#fail(connection, 'output-queue-full');
      return;
    }
    connection.writes.push(Buffer.from(bytes));
    this.#writeNext(connection, connection.socket);
  }

  /** Forgets the connection without a word to the client. Does nothing for an unknown id. */
  close(id: TlsId): void {
    const connection = this.#connections.get(id);
    if (connection !== undefined) this.#release(connection);
  }

  /** Handshakes that start from now on use these; others go on with what they have. Throws what TLS says about bad PEM. */
  setCredentials(credentials: TlsCredentials): void {
    this.#server = this.#createServer(credentials);
  }

  #createServer(credentials: TlsCredentials): Server {
    const mutual = credentials.clientCaPem !== null;
    const server = createServer({
      cert: credentials.certificatePem,
      key: credentials.keyPem,
      ...(credentials.clientCaPem === null ? {} : { ca: credentials.clientCaPem }),
      requestCert: mutual,
      rejectUnauthorized: false,
      minVersion: credentials.minVersion ?? 'TLSv1.2',
      maxVersion: 'TLSv1.3',
      ciphers: CIPHERS,
      ecdhCurve: 'X25519:P-256:P-384',
      honorCipherOrder: true,
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_COMPRESSION,
    });
    server.on('secureConnection', (socket) => this.#secured(socket, mutual));
    server.on('tlsClientError', (error) => {
      const connection = this.#context.getStore();
      if (connection !== undefined) this.#fail(connection, reasonOf(error));
    });
    return server;
  }

  #secured(socket: TLSSocket, mutual: boolean): void {
    const connection = this.#context.getStore();
    if (connection === undefined)
      throw new InternalError('TLS handshake finished outside the context of its connection');
    if (this.#connections.get(connection.id) !== connection) {
      socket.destroy();
      return;
    }
    connection.socket = socket;
    socket.on('data', (bytes: Buffer) =>
      this.#report(connection, { kind: 'tlsPlaintext', tls: connection.id, bytes: plainBytes(bytes) }),
    );
    socket.once('end', () => this.#fail(connection, 'closed-by-client'));
    socket.once('error', (error) => this.#fail(connection, reasonOf(error)));
    socket.once('close', () => this.#fail(connection, 'closed'));
    this.#report(connection, {
      kind: 'tlsReady',
      tls: connection.id,
      certificate: mutual ? presentedCertificate(socket) : null,
      resumed: socket.isSessionReused(),
      version: socket.getProtocol() ?? 'unknown',
      dataKeys: exportedKey(socket, 'EXPORTER-OpenVPN-datakeys'),
      dynamicTlsCrypt: exportedKey(socket, 'EXPORTER-OpenVPN-dynamic-tls-crypt'),
    });
  }

  // Node joins writes that wait for one another into one record, and clients before 2.6 read one message per record.
  #writeNext(connection: Connection, socket: TLSSocket): void {
    const bytes = connection.writes[0];
    if (connection.writing || bytes === undefined) return;
    connection.writes.shift();
    connection.writing = true;
    socket.write(bytes, (error) => {
      connection.writing = false;
      connection.writesBytes -= bytes.length;
      if (!error && this.#connections.get(connection.id) === connection) this.#writeNext(connection, socket);
    });
  }

  #fail(connection: Connection, reason: string): void {
    if (this.#connections.get(connection.id) !== connection || connection.wire.failed) return;
    connection.wire.failed = true;
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
    connection.writes.length = 0;
    connection.socket?.destroy();
    connection.wire.destroy();
  }
}

interface Connection {
  readonly id: TlsId;
  readonly wire: WireStream;
  /** Null until the handshake is done. */
  socket: TLSSocket | null;
  receivedBytes: number;
  readonly writes: Buffer[];
  writesBytes: number;
  writing: boolean;
}

/** What TLS takes for the network: `push` feeds it, its writes go to a function. */
class WireStream extends Duplex {
  /** Set once the failure is on its way, so that it is told once. */
  failed = false;
  readonly #output: (bytes: Uint8Array) => void;

  constructor(output: (bytes: Uint8Array) => void) {
    super();
    this.#output = output;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#output(plainBytes(chunk));
    done();
  }
}

function presentedCertificate(socket: TLSSocket): PresentedCertificate | null {
  // Only this form shows the certificates above the leaf; the CA at the end is its own issuer.
  let certificate: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  const chain: Uint8Array[] = [];
  while (certificate?.raw !== undefined && chain.length < MAX_CHAIN_LENGTH) {
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate === certificate ? undefined : certificate.issuerCertificate;
  }
  if (chain.length === 0) return null;
  // The types say Error, Node sets the code's text.
  const error = socket.authorizationError as unknown;
  if (error === null || error === undefined) {
    return { chain, authorizationError: socket.authorized ? null : 'NOT_AUTHORIZED' };
  }
  return { chain, authorizationError: typeof error === 'string' ? error : 'NOT_AUTHORIZED' };
}

function exportedKey(socket: TLSSocket, label: string): Uint8Array {
  // The types ask for a context, and an empty one gives other bytes under TLS 1.2 than none.
  const exportWithoutContext = socket.exportKeyingMaterial.bind(socket) as (length: number, label: string) => Buffer;
  return plainBytes(exportWithoutContext(EXPORT_BYTES, label));
}

/** The same bytes without Buffer's ways: its `slice` shares memory where Uint8Array's copies. */
function plainBytes(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}

function reasonOf(error: Error): string {
  const code = 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'tls-error';
}

const EXPORT_BYTES = 256;
const MAX_RECORD_BYTES = 16_384;
// A chain with generous RSA certificates is 10 KB; OpenSSL itself stops at 100 KB of certificates.
const MAX_HANDSHAKE_BYTES = 131_072;
// More than the largest message of any client (262,144 bytes, with its records' overhead).
const MAX_QUEUED_BYTES = 327_680;
const MAX_CHAIN_LENGTH = 10;

const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');
