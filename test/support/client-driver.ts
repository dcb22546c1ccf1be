import { randomBytes } from 'node:crypto';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect as connectTcp, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { DATA_KEYS_LABEL } from '../../dataplane/protocol/data-keys.ts';
import { DYNAMIC_TLS_CRYPT_LABEL } from '../../dataplane/protocol/dynamic-tls-crypt.ts';
import { frameForTcp, TcpFrameReader } from './tcp-frames.ts';
import { CLIENT_2_6, type ClientConfig, type ClientInput, type ClientOutput } from './client-io.ts';
import { ClientMachine } from './openvpn-client.ts';

export interface ClientDriverOptions {
  readonly host: string;
  readonly port: number;
  /** Over UDP: where to send from. */
  readonly localAddress?: string;
  readonly tls: ConnectionOptions;
  /** What differs from a 2.6 client. */
  readonly config: Partial<ClientConfig>;
  /** Called with what the machine says to its user; TLS and the wire are done here. */
  readonly onOutput: (output: ClientOutput) => void;
}

const EXPORT_BYTES = 256;
const MAX_TCP_PACKET_BYTES = 4096;
const SENT_KEPT = 200;

/** Runs a ClientMachine on a real socket, real TLS and the real clock. */
export class ClientDriver {
  readonly machine: ClientMachine;
  readonly #options: ClientDriverOptions;
  readonly #tls = new Map<number, { readonly wire: Duplex; readonly socket: TLSSocket }>();
  readonly #frames = new TcpFrameReader(MAX_TCP_PACKET_BYTES);
  /** The latest packets that left, for those who want to send them again. */
  readonly sent: Uint8Array[] = [];
  #udp: UdpSocket | undefined;
  #tcp: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ClientDriverOptions) {
    this.#options = options;
    this.machine = new ClientMachine({
      ...CLIENT_2_6,
      unixS: Math.floor(Date.now() / 1000),
      random: (bytes) => randomBytes(bytes),
      ...options.config,
    });
  }

  /** Opens the socket and says hello. */
  start(): void {
    const { host, port, config } = this.#options;
    if (config.transport === 'tcp') {
      this.#tcp = connectTcp({ host, port, noDelay: true }, () => this.handle({ kind: 'connect' }));
      this.#tcp.on('data', (bytes) => this.#onTcpBytes(bytes));
      this.#tcp.on('error', () => this.close());
      return;
    }
    this.#udp = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    this.#udp.on('message', (bytes) => this.handle({ kind: 'datagram', bytes }));
    this.#udp.on('error', () => undefined);
    const { localAddress } = this.#options;
    if (localAddress !== undefined) this.#udp.bind({ address: localAddress });
    this.#udp.connect(port, host, () => this.handle({ kind: 'connect' }));
  }

  handle(input: ClientInput): void {
    for (const output of this.machine.handle(input, performance.now())) this.#carryOut(output);
    clearTimeout(this.#timer);
    const deadline = this.machine.nextDeadline();
    if (deadline === undefined) return;
    this.#timer = setTimeout(() => this.handle({ kind: 'deadline' }), Math.max(deadline - performance.now(), 0) + 1);
  }

  /** Sends bytes of the test's choice. */
  sendRaw(bytes: Uint8Array): void {
    this.#udp?.send(bytes);
    this.#tcp?.write(frameForTcp(bytes));
  }

  /** Writes any plaintext into the newest TLS connection. */
  writeInsideTls(bytes: Uint8Array): void {
    [...this.#tls.values()].at(-1)?.socket.write(bytes);
  }

  /** Reads, and acknowledges, nothing from now on. */
  deafen(): void {
    this.#tcp?.pause();
    this.#udp?.removeAllListeners('message');
  }

  /** Leaves without a word. */
  close(): void {
    clearTimeout(this.#timer);
    for (const { socket } of this.#tls.values()) socket.destroy();
    this.#udp?.close();
    this.#udp = undefined;
    this.#tcp?.destroy();
  }

  #carryOut(output: ClientOutput): void {
    switch (output.kind) {
      case 'transmit':
        this.sendRaw(output.bytes);
        this.sent.push(output.bytes);
        if (this.sent.length > SENT_KEPT) this.sent.shift();
        return;
      case 'tlsStart':
        return this.#startTls(output.tls);
      case 'tlsInput':
        this.#tls.get(output.tls)?.wire.push(output.bytes);
        return;
      case 'tlsWrite':
        this.#tls.get(output.tls)?.socket.write(output.bytes);
        return;
      case 'tlsClose':
        this.#tls.get(output.tls)?.socket.destroy();
        this.#tls.delete(output.tls);
        return;
      case 'inner':
      case 'message':
      case 'connected':
      case 'dataKey':
      case 'closed':
        this.#options.onOutput(output);
    }
  }

  #onTcpBytes(bytes: Uint8Array): void {
    const frames = this.#frames.push(bytes);
    if (!frames.ok) return this.close();
    for (const packet of frames.packets) this.handle({ kind: 'datagram', bytes: packet });
  }

  #startTls(tls: number): void {
    const wire = new Duplex({
      read: () => undefined,
      write: (chunk: Uint8Array, _encoding, done) => {
        this.handle({ kind: 'tlsOutput', tls, bytes: chunk });
        done();
      },
    });
    const socket = connectTls({ ...this.#options.tls, socket: wire, checkServerIdentity: () => undefined });
    this.#tls.set(tls, { wire, socket });
    socket.on('secureConnect', () =>
      this.handle({
        kind: 'tlsReady',
        tls,
        dataKeys: exported(socket, DATA_KEYS_LABEL),
        dynamicTlsCrypt: exported(socket, DYNAMIC_TLS_CRYPT_LABEL),
      }),
    );
    socket.on('data', (bytes: Uint8Array) => this.handle({ kind: 'tlsPlaintext', tls, bytes }));
    socket.on('error', (error) => this.handle({ kind: 'tlsFailed', tls, reason: error.message }));
  }
}

/** Without a context, which gives other bytes than an empty one; the types of Node demand one. */
function exported(socket: TLSSocket, label: string): Uint8Array {
  const exportWithoutContext: unknown = socket.exportKeyingMaterial.bind(socket);
  return (exportWithoutContext as (length: number, label: string) => Uint8Array)(EXPORT_BYTES, label);
}
