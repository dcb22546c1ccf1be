import { Duplex } from 'node:stream';
import { connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls';
import { randomBytes } from 'node:crypto';
import type { DataKeyMaterial } from '../../dataplane/data-channel.ts';
import { DATA_KEYS_LABEL } from '../../dataplane/protocol/data-keys.ts';
import { DYNAMIC_TLS_CRYPT_LABEL } from '../../dataplane/protocol/dynamic-tls-crypt.ts';
import { isDataOpcode, opcodeOf } from '../../dataplane/protocol/opcode.ts';
import { OCC_EXIT_PAYLOAD_BYTES, PING_PAYLOAD_BYTES } from '../support/client-data-channel.ts';
import { CLIENT_2_6, type ClientInput, type ClientOutput } from '../support/client-io.ts';
import type { PushedSettings } from '../support/client-push.ts';
import { openDataPacket, sealDataPacket, type DataDirection } from '../support/data-packet.ts';
import { ClientMachine } from '../support/openvpn-client.ts';

/** What a client needs of the process it lives in. */
export interface ScaleClientPort {
  transmit(bytes: Uint8Array): void;
  secureContext(): SecureContext;
  onConnected(client: ScaleClient): void;
  /** An inner packet that is no ping. */
  onInner(client: ScaleClient, inner: Uint8Array, nowMs: number): void;
}

/**
 * One of thousands of clients: logs in as the full client does with the files we export, then keeps only what pings and
 * probes need. It comes back like a real one: when the server has been silent for ping-restart, or a login has failed.
 *
 *   idle ──► logging in ──connected──► connected, full client for 5 s more ──► connected, light
 *              ▲    └──failed── 1 s ──┐         └───────── silent for ping-restart ────────┐
 *              └──────────────────────┴────────────────────────────────────────────────────┘
 */
export class ScaleClient {
  readonly index: number;
  /** Logins begun, times of the last begun and the last that succeeded. */
  attempts = 0;
  lastFailure = '';
  startedAt = Infinity;
  connectedAt = -Infinity;
  lastHeard = -Infinity;
  /** The server was silent for ping-restart. */
  restarts = 0;
  readonly #port: ScaleClientPort;
  #machine: ClientMachine | undefined;
  #tls: { readonly wire: Duplex; readonly socket: TLSSocket } | undefined;
  #tunnel: LightTunnel | undefined;
  #settings: PushedSettings | undefined;
  #retryAt = Infinity;
  /** When it turns from a server of which it has heard nothing. */
  #pollAt = Infinity;
  #lightAt = Infinity;
  #pingAt = Infinity;

  constructor(index: number, port: ScaleClientPort) {
    this.index = index;
    this.#port = port;
  }

  get isConnected(): boolean {
    return this.#tunnel !== undefined;
  }

  get tunnelAddress(): string | null {
    return this.#tunnel === undefined ? null : (this.#settings?.tunnelAddress ?? null);
  }

  /** Begins a login, whatever was before. */
  start(nowMs: number): void {
    this.#drop();
    this.attempts += 1;
    this.startedAt = nowMs;
    this.#retryAt = Infinity;
    this.#pollAt = nowMs + SERVER_POLL_MS;
    this.#machine = new ClientMachine({
      ...CLIENT_2_6,
      retransmitMs: TLS_TIMEOUT_MS,
      random: (bytes) => randomBytes(bytes),
      unixS: Math.floor(Date.now() / 1000),
    });
    this.#feed({ kind: 'connect' }, nowMs);
  }

  receive(bytes: Uint8Array, nowMs: number): void {
    this.#pollAt = Infinity;
    const tunnel = this.#tunnel;
    if (tunnel === undefined || !isDataOpcode(opcodeOf(bytes[0])))
      return this.#feed({ kind: 'datagram', bytes }, nowMs);
    this.lastHeard = nowMs;
    if (bytes.length <= PING_PACKET_BYTES) return;
    const opened = openDataPacket(tunnel.receive, 'V2', bytes);
    if (opened !== undefined) this.#port.onInner(this, opened.plain, nowMs);
  }

  send(inner: Uint8Array, nowMs: number): void {
    const tunnel = this.#tunnel;
    if (tunnel === undefined) return;
    const { keyId, peerId } = tunnel;
    const packetId = tunnel.nextPacketId++;
    this.#port.transmit(sealDataPacket(tunnel.send, { format: 'V2', keyId, peerId, packetId }, inner));
    this.#pingAt = nowMs + (this.#settings?.pingMs ?? Infinity);
  }

  /** Says goodbye. */
  exit(nowMs: number): void {
    this.send(OCC_EXIT_PAYLOAD_BYTES, nowMs);
    this.#drop();
    this.#retryAt = Infinity;
  }

  nextDeadline(): number {
    const silentAt =
      this.#tunnel === undefined ? Infinity : this.lastHeard + (this.#settings?.pingRestartMs ?? Infinity);
    const machineAt = this.#machine?.nextDeadline() ?? Infinity;
    return Math.min(machineAt, this.#retryAt, this.#pollAt, this.#lightAt, this.#pingAt, silentAt);
  }

  onDeadline(nowMs: number): void {
    if (nowMs >= Math.min(this.#retryAt, this.#pollAt)) return this.start(nowMs);
    if (this.#tunnel !== undefined && nowMs >= this.lastHeard + (this.#settings?.pingRestartMs ?? Infinity)) {
      this.restarts += 1;
      this.#drop();
      // What a stock client waits before it connects again.
      this.#retryAt = nowMs + RETRY_MS;
      return;
    }
    if (nowMs >= this.#pingAt) this.send(PING_PAYLOAD_BYTES, nowMs);
    if (nowMs >= this.#lightAt) this.#becomeLight();
    else if (nowMs >= (this.#machine?.nextDeadline() ?? Infinity)) this.#feed({ kind: 'deadline' }, nowMs);
  }

  #feed(input: ClientInput, nowMs: number): void {
    const machine = this.#machine;
    if (machine === undefined) return;
    for (const output of machine.handle(input, nowMs)) {
      if (this.#machine !== machine) return;
      this.#carryOut(output, machine, nowMs);
    }
  }

  #carryOut(output: ClientOutput, machine: ClientMachine, nowMs: number): void {
    switch (output.kind) {
      case 'transmit':
        return this.#port.transmit(output.bytes);
      case 'tlsStart':
        return this.#startTls(output.tls, machine);
      case 'tlsInput':
        this.#tls?.wire.push(output.bytes);
        return;
      case 'tlsWrite':
        this.#tls?.socket.write(output.bytes);
        return;
      case 'connected':
        this.#settings = output.settings;
        return;
      case 'dataKey':
        return this.#connected(output.key, nowMs);
      case 'closed':
        this.lastFailure = output.reason;
        this.#drop();
        this.#retryAt = nowMs + (output.reason.startsWith('AUTH_FAILED,TEMP[backoff 15') ? BACKOFF_MS : RETRY_MS);
        return;
      case 'tlsClose':
      case 'inner':
      case 'message':
    }
  }

  #connected(key: DataKeyMaterial, nowMs: number): void {
    const settings = this.#settings;
    if (settings === undefined) return;
    this.#tunnel = {
      peerId: settings.data.peerId ?? 0,
      keyId: key.keyId,
      send: { cipher: key.cipher, key: key.decryptKey, implicitIv: key.decryptIv },
      receive: { cipher: key.cipher, key: key.encryptKey, implicitIv: key.encryptIv },
      nextPacketId: 1,
    };
    this.connectedAt = nowMs;
    this.lastHeard = nowMs;
    this.#lightAt = nowMs + FULL_MS;
    this.#pingAt = nowMs + settings.pingMs;
    this.#port.onConnected(this);
  }

  /** Long enough to acknowledge whatever the server has to send again. */
  #becomeLight(): void {
    this.#lightAt = Infinity;
    this.#machine = undefined;
    this.#tls?.socket.destroy();
    this.#tls = undefined;
  }

  #drop(): void {
    this.#becomeLight();
    this.#tunnel = undefined;
    this.#settings = undefined;
    this.#pingAt = Infinity;
    this.#pollAt = Infinity;
  }

  #startTls(tls: number, machine: ClientMachine): void {
    const feed = (input: ClientInput): void => {
      if (this.#machine === machine) this.#feed(input, performance.now());
    };
    const wire = new Duplex({
      read: () => undefined,
      write: (bytes: Uint8Array, _encoding, done) => {
        feed({ kind: 'tlsOutput', tls, bytes });
        done();
      },
    });
    const secureContext = this.#port.secureContext();
    const socket = connectTls({ socket: wire, secureContext, checkServerIdentity: () => undefined });
    this.#tls = { wire, socket };
    socket.on('secureConnect', () =>
      feed({
        kind: 'tlsReady',
        tls,
        dataKeys: exported(socket, DATA_KEYS_LABEL),
        dynamicTlsCrypt: exported(socket, DYNAMIC_TLS_CRYPT_LABEL),
      }),
    );
    socket.on('data', (bytes: Uint8Array) => feed({ kind: 'tlsPlaintext', tls, bytes }));
    socket.on('error', (error) => feed({ kind: 'tlsFailed', tls, reason: error.message }));
  }
}

interface LightTunnel {
  readonly peerId: number;
  readonly keyId: number;
  readonly send: DataDirection;
  readonly receive: DataDirection;
  nextPacketId: number;
}

/** Without a context, which gives other bytes than an empty one; the types of Node demand one. */
function exported(socket: TLSSocket, label: string): Uint8Array {
  const exportWithoutContext: unknown = socket.exportKeyingMaterial.bind(socket);
  return (exportWithoutContext as (length: number, label: string) => Uint8Array)(256, label);
}

const FULL_MS = 5_000;
const RETRY_MS = 1_000;
/** What a full endpoint asks for. */
const BACKOFF_MS = 15_000;
/** As in the files we export. */
const SERVER_POLL_MS = 10_000;
const TLS_TIMEOUT_MS = 1_000;
/** Header, tag and the ping's 16 bytes. */
const PING_PACKET_BYTES = 8 + 16 + 16;
