import { hkdfSync } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { PresentedCertificate } from '../../api/authentication.ts';
import { concatBytes, u32Bytes, utf8Bytes, viewOf } from '../../dataplane/protocol/bytes.ts';
import type { HandshakeFailure } from '../../dataplane/protocol/reasons.ts';
import type { VirtualClock } from './virtual-clock.ts';

export type PassThroughEvent =
  | { readonly kind: 'tlsOutput'; readonly tls: number; readonly bytes: Uint8Array }
  | { readonly kind: 'tlsPlaintext'; readonly tls: number; readonly bytes: Uint8Array }
  | {
      readonly kind: 'tlsReady';
      readonly tls: number;
      readonly certificate: PresentedCertificate | null;
      readonly resumed: boolean;
      readonly version: string;
      readonly dataKeys: Uint8Array;
      readonly dynamicTlsCrypt: Uint8Array;
    }
  | { readonly kind: 'tlsFailed'; readonly tls: number; readonly reason: HandshakeFailure };

/** How the client's half behaves. */
export interface PassThroughClient {
  readonly certificate: PresentedCertificate | null;
  /** `no-finish`: says hello and then nothing. `old-version`: the server refuses it. `resumed`: skips its certificate. */
  readonly manner: 'honest' | 'no-finish' | 'old-version' | 'resumed';
}

/**
 * Stands in for TLS in simulations: the same flights and the same order of events, nothing secret. Frames are
 * `[type 1][length 4][checksum 4][body]`; a bent one ends the connection. Answers come asynchronously, as those of a real TLS do.
 */
export class PassThroughTls {
  readonly #clock: VirtualClock;
  readonly #deliver: (event: PassThroughEvent) => void;
  readonly #connections = new Map<number, Connection>();

  constructor(clock: VirtualClock, deliver: (event: PassThroughEvent) => void) {
    this.#clock = clock;
    this.#deliver = deliver;
  }

  get size(): number {
    return this.#connections.size;
  }

  openServer(tls: number): void {
    this.#connections.set(tls, { tls, client: null, received: new Uint8Array(0), random: new Uint8Array(32) });
  }

  /** Sends the client's hello. @param random 32 bytes: both sides make their keys from it */
  openClient(tls: number, client: PassThroughClient, random: Uint8Array): void {
    this.#connections.set(tls, { tls, client, received: new Uint8Array(0), random });
    this.#output(tls, frame(FrameType.ClientHello, concatBytes(random, helloFacts(client), new Uint8Array(300))));
  }

  input(tls: number, bytes: Uint8Array): void {
    const connection = this.#connections.get(tls);
    if (connection === undefined) return;
    connection.received = concatBytes(connection.received, bytes);
    for (let next = takeFrame(connection); next !== undefined; next = takeFrame(connection)) {
      this.#onFrame(connection, next);
      if (next === BAD_FRAME) return;
    }
  }

  /** In records of the size that a real TLS makes, each delivered once it is whole. */
  write(tls: number, bytes: Uint8Array): void {
    if (!this.#connections.has(tls)) return;
    for (let at = 0; at < bytes.length; at += RECORD_BYTES)
      this.#output(tls, frame(FrameType.Data, bytes.subarray(at, at + RECORD_BYTES)));
  }

  close(tls: number): void {
    this.#connections.delete(tls);
  }

  #onFrame(connection: Connection, { type, body }: Frame): void {
    const { tls, client } = connection;
    switch (type) {
      case FrameType.ClientHello:
        connection.random = body.slice(0, 32);
        connection.facts = readHelloFacts(body.subarray(32));
        if (connection.facts.manner === 'old-version') {
          this.#output(tls, frame(FrameType.Alert, utf8Bytes('protocol version')));
          this.#emit({ kind: 'tlsFailed', tls, reason: 'tls-unsupported-protocol' });
          return;
        }
        // About what a certificate chain takes: three packets.
        this.#output(tls, frame(FrameType.ServerHello, new Uint8Array(2500)));
        return;
      case FrameType.ServerHello:
        if (client === null || client.manner === 'no-finish') return;
        this.#output(tls, frame(FrameType.Finished, new Uint8Array(client.certificate === null ? 40 : 1200)));
        this.#ready(connection, null, false);
        return;
      case FrameType.Finished:
        this.#ready(connection, connection.facts?.certificate ?? null, connection.facts?.manner === 'resumed');
        return;
      case FrameType.Data:
        this.#emit({ kind: 'tlsPlaintext', tls, bytes: body });
        return;
      default:
        this.#emit({ kind: 'tlsFailed', tls, reason: 'tls-alert' });
    }
  }

  #ready(connection: Connection, certificate: PresentedCertificate | null, resumed: boolean): void {
    const { tls, random } = connection;
    this.#emit({
      kind: 'tlsReady',
      tls,
      certificate,
      resumed,
      version: 'TLSv1.3',
      dataKeys: exported(random, 'data-keys'),
      dynamicTlsCrypt: exported(random, 'dynamic-tls-crypt'),
    });
  }

  #output(tls: number, bytes: Uint8Array): void {
    this.#emit({ kind: 'tlsOutput', tls, bytes });
  }

  #emit(event: PassThroughEvent): void {
    const connection = this.#connections.get(event.tls);
    this.#clock.after(0, () => {
      if (this.#connections.get(event.tls) === connection) this.#deliver(event);
    });
  }
}

interface Connection {
  readonly tls: number;
  readonly client: PassThroughClient | null;
  received: Uint8Array;
  random: Uint8Array;
  facts?: PassThroughClient;
}

interface Frame {
  readonly type: number;
  readonly body: Uint8Array;
}

const HEAD_BYTES = 9;
const MAX_BODY_BYTES = 1_000_000;
const RECORD_BYTES = 16_384;
/** What a real TLS answers with a fatal alert. */
const BAD_FRAME: Frame = { type: 0, body: new Uint8Array(0) };

const FrameType = { ClientHello: 1, ServerHello: 2, Finished: 3, Data: 4, Alert: 5 } as const;

function frame(type: number, body: Uint8Array): Uint8Array {
  const head = concatBytes(Uint8Array.of(type), u32Bytes(body.length));
  return concatBytes(head, u32Bytes(crc32(body, crc32(head))), body);
}

function takeFrame(connection: Connection): Frame | undefined {
  const { received } = connection;
  if (received.length < HEAD_BYTES) return undefined;
  const length = viewOf(received).getUint32(1);
  const end = HEAD_BYTES + length;
  if (length > MAX_BODY_BYTES) return BAD_FRAME;
  if (received.length < end) return undefined;
  connection.received = received.slice(end);
  const body = received.slice(HEAD_BYTES, end);
  const isIntact = crc32(body, crc32(received.subarray(0, 5))) === viewOf(received).getUint32(5);
  return isIntact ? { type: received[0], body } : BAD_FRAME;
}

function helloFacts({ certificate, manner }: PassThroughClient): Uint8Array {
  const facts = { manner, error: certificate?.authorizationError ?? null, chain: certificate?.chain.map(hex) ?? null };
  const json = utf8Bytes(JSON.stringify(facts));
  return concatBytes(u32Bytes(json.length), json);
}

function readHelloFacts(bytes: Uint8Array): PassThroughClient {
  const json = new TextDecoder().decode(bytes.subarray(4, 4 + viewOf(bytes).getUint32(0)));
  const { manner, error, chain } = JSON.parse(json) as {
    manner: PassThroughClient['manner'];
    error: string | null;
    chain: readonly string[] | null;
  };
  const certificate = chain === null ? null : { chain: chain.map(bytesOf), authorizationError: error };
  return { manner, certificate };
}

function exported(random: Uint8Array, label: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', random, new Uint8Array(0), label, 256));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'));
}
