import { concatBytes } from '../../dataplane/protocol/bytes.ts';
import type { ClientKeySource, ServerKeySource } from '../../dataplane/protocol/key-method.ts';
import type { ControlOpcode } from '../../dataplane/protocol/opcode.ts';
import { ReceiveQueue, SendQueue } from '../../dataplane/protocol/reliability.ts';
import { parseServerKeyMethod } from './client-key-method.ts';

/** One key of a client's session: its reliability layer, its TLS connection, its share of the keys. */
export class ClientKeyState {
  readonly keyId: number;
  readonly tls: number;
  readonly createdMs: number;
  readonly send: SendQueue;
  readonly receive = new ReceiveQueue();
  readonly source: ClientKeySource;
  phase: 'reset' | 'tls' | 'key-method' | 'active' = 'reset';
  exportedDataKeys: Uint8Array | null = null;
  exportedTlsCrypt: Uint8Array | null = null;
  serverSource: ServerKeySource | null = null;
  serverOptions = '';
  #plaintext: Uint8Array = new Uint8Array(0);

  constructor(options: {
    readonly keyId: number;
    readonly tls: number;
    readonly nowMs: number;
    readonly reset: ControlOpcode;
    readonly retransmitMs: number;
    readonly retransmits: boolean;
    readonly maxPayloadBytes: number;
    readonly random: (bytes: number) => Uint8Array;
  }) {
    this.keyId = options.keyId;
    this.tls = options.tls;
    this.createdMs = options.nowMs;
    // A stock client measures nothing.
    this.send = new SendQueue({ ...options, firstMessageId: 0, leastRetransmitMs: options.retransmitMs });
    this.send.pushMessage(options.reset, new Uint8Array(0));
    this.source = { preMaster: options.random(48), random1: options.random(32), random2: options.random(32) };
  }

  /** Takes plaintext until the server's key method is complete; what follows is control messages. */
  takeKeyMethod(bytes: Uint8Array): { readonly rest: Uint8Array } | 'more' | 'malformed' {
    this.#plaintext = concatBytes(this.#plaintext, bytes);
    const parsed = parseServerKeyMethod(this.#plaintext);
    if (typeof parsed === 'string') return parsed;
    this.serverSource = parsed.source;
    this.serverOptions = parsed.options;
    return { rest: parsed.rest };
  }

  /** Control messages that are complete; the rest waits for its NUL. */
  takeMessages(bytes: Uint8Array): readonly string[] {
    if (bytes.length === 0) return [];
    const text = this.#text + new TextDecoder().decode(bytes);
    const parts = text.split('\0');
    this.#text = parts.pop() ?? '';
    return parts.filter((part) => part !== '');
  }
  #text = '';
}
