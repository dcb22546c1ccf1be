import { ControlMessageReader, encodeControlMessage, type ClientMessage } from './control-message.ts';
import { KeyMethodParser, type KeyMethodFailure, type KeyMethodMessage, type ServerKeySource } from './key-method.ts';
import { Opcode, type ControlOpcode } from './opcode.ts';
import { ReceiveQueue, SendQueue, type ReceiveVerdict } from './reliability.ts';

/** What TLS says once its handshake is done. */
export interface TlsFacts {
  /** 256 bytes each; see data-keys.ts and dynamic-tls-crypt.ts. */
  readonly dataKeys: Uint8Array;
  readonly dynamicTlsCrypt: Uint8Array;
}

/**
 *   negotiating ──client's key method read──► answered ──all of ours acknowledged──► active
 *        └────────────── TLS failed, malformed, hand window over ──────────────────────► gone
 */
export type KeyPhase = 'negotiating' | 'answered' | 'active' | 'gone';

export interface KeyStateOptions {
  readonly keyId: number;
  /** Names the TLS connection of this key towards the outside. */
  readonly tls: number;
  readonly nowMs: number;
  readonly handWindowMs: number;
  readonly retransmitMs: number;
  readonly retransmits: boolean;
  readonly maxPayloadBytes: number;
  /** 1 where our reset was answered without state, else 0: next id to send and next expected. */
  readonly firstMessageId: 0 | 1;
}

export type PlaintextStep =
  | { readonly kind: 'more' }
  | { readonly kind: 'failed'; readonly reason: KeyMethodFailure }
  /** `messages`: what the client said in the same breath. */
  | { readonly kind: 'keyMethod'; readonly message: KeyMethodMessage; readonly messages: readonly ClientMessage[] }
  | { readonly kind: 'messages'; readonly messages: readonly ClientMessage[] };

/**
 * One key of one session: its part of the control channel, its TLS connection's bytes, the key-method exchange. It
 * decides nothing about who the client is. Times are milliseconds of one monotonic clock.
 */
export class KeyState {
  readonly keyId: number;
  readonly tls: number;
  readonly createdMs: number;
  readonly send: SendQueue;
  readonly receive: ReceiveQueue;
  /** When the negotiation is given up. A grant moves it. */
  deadlineMs: number;
  facts: TlsFacts | undefined;
  /** Kept until the keys are derived. */
  client: KeyMethodMessage | undefined;
  server: ServerKeySource | undefined;
  /** Plaintext of an unfinished key-method message, bytes. */
  keyMethodBytes = 0;
  /** When the client last sent anything under this key. */
  heardMs: number | undefined;
  #phase: KeyPhase = 'negotiating';
  #parser = new KeyMethodParser();
  readonly #reader = new ControlMessageReader();
  #legacyEndMs: number | undefined;
  #awaitsTls = false;
  #waitingText: string[] = [];

  constructor(options: KeyStateOptions) {
    this.keyId = options.keyId;
    this.tls = options.tls;
    this.createdMs = options.nowMs;
    this.deadlineMs = options.nowMs + options.handWindowMs;
    this.send = new SendQueue({ ...options, leastRetransmitMs: LEAST_RETRANSMIT_MS });
    this.receive = new ReceiveQueue(options.firstMessageId);
  }

  get phase(): KeyPhase {
    return this.#phase;
  }

  /** Whether the client has sent anything under this key. */
  get isHeard(): boolean {
    return this.heardMs !== undefined;
  }

  /** Hands in one message of the client. @param toTls takes TLS bytes that are now in order. */
  receiveMessage(
    message: { readonly id: number; readonly opcode: ControlOpcode; readonly payload: Uint8Array },
    toTls: (bytes: Uint8Array) => void,
  ): ReceiveVerdict {
    const verdict = this.receive.receive(message.id, message.opcode, message.payload);
    for (let next = this.receive.next(); next !== undefined; next = this.receive.next()) {
      const isTls = next.opcode === Opcode.ControlV1 || next.opcode === Opcode.ControlWkcV1;
      if (isTls && next.payload.length > 0) toTls(next.payload);
    }
    return verdict;
  }

  /** Takes decrypted bytes, which TLS delivers only after its facts. */
  pushPlaintext(bytes: Uint8Array, nowMs: number): PlaintextStep {
    if (this.facts === undefined || this.#phase === 'gone') return { kind: 'more' };
    if (this.client !== undefined) return { kind: 'messages', messages: this.#reader.push(bytes) };
    const step = this.#parser.push(bytes);
    this.keyMethodBytes += bytes.length;
    this.#legacyEndMs = step.kind === 'more' ? nowMs + LEGACY_END_MS : undefined;
    return this.#afterParse(step);
  }

  /** Very old clients end their message early; silence for 2 s says that it is complete. */
  finishLegacy(nowMs: number): PlaintextStep {
    if (this.#phase === 'gone' || this.#legacyEndMs === undefined || nowMs < this.#legacyEndMs) return { kind: 'more' };
    this.#legacyEndMs = undefined;
    return this.#afterParse(this.#parser.finishLegacy());
  }

  /** Our key-method message has been handed to TLS. */
  markAnswered(server: ServerKeySource): void {
    this.server = server;
    this.#phase = 'answered';
    this.#awaitsTls = true;
  }

  /** @returns false when the client has left too much unacknowledged: the stream has a hole and the key is of no more use. */
  pushTlsOutput(bytes: Uint8Array): boolean {
    if (this.#phase === 'gone') return true;
    this.#awaitsTls = false;
    return this.send.pushStream(bytes);
  }

  /** Whether the client has acknowledged everything that was said. */
  get isQuiet(): boolean {
    return !this.#awaitsTls && this.send.isEmpty && this.#waitingText.length === 0;
  }

  /** @returns true once: when the client has acknowledged all of our answer. */
  becomeActive(): boolean {
    if (this.#phase !== 'answered' || this.#awaitsTls || !this.send.isEmpty) return false;
    this.#phase = 'active';
    return true;
  }

  /**
   * Queues a control message and returns those that may go to TLS now, one write each. Before the key is active the
   * client may not be able to read them.
   */
  say(text: string): readonly Uint8Array[] {
    if (this.#phase === 'gone') return [];
    this.#waitingText.push(text);
    return this.takeSayable();
  }

  takeSayable(): readonly Uint8Array[] {
    if (this.#phase !== 'active') return [];
    const texts = this.#waitingText;
    this.#waitingText = [];
    if (texts.length > 0) this.#awaitsTls = true;
    return texts.map(encodeControlMessage);
  }

  /** Forgets what the data keys were made of. */
  wipe(): void {
    this.client?.source.preMaster.fill(0);
    this.client?.source.random1.fill(0);
    this.client?.source.random2.fill(0);
    this.server?.random1.fill(0);
    this.server?.random2.fill(0);
    this.facts?.dataKeys.fill(0);
    if (this.facts !== undefined) this.facts = { ...this.facts, dataKeys: NOTHING };
    this.server = undefined;
  }

  /** The wrap of the renewals has been made of it. */
  forgetDynamicTlsCrypt(): void {
    this.facts?.dynamicTlsCrypt.fill(0);
    if (this.facts !== undefined) this.facts = { ...this.facts, dynamicTlsCrypt: NOTHING };
  }

  destroy(): void {
    this.#phase = 'gone';
    this.#parser.wipe();
    this.#waitingText = [];
    this.#legacyEndMs = undefined;
    this.send.clear();
    this.wipe();
    this.forgetDynamicTlsCrypt();
  }

  /** Whether the negotiation has had its time. */
  isOverdue(nowMs: number): boolean {
    return this.#phase !== 'active' && this.#phase !== 'gone' && nowMs >= this.deadlineMs;
  }

  /** Acknowledgements that wait for a packet to ride on are due at once: when everything else of now has been handled. */
  nextDeadline(): number | undefined {
    const negotiationEnds = this.#phase === 'active' ? Infinity : this.deadlineMs;
    const acksDue = this.receive.pendingAcks > 0 ? this.heardMs : undefined;
    const earliest = Math.min(
      this.send.nextDeadline() ?? Infinity,
      this.#legacyEndMs ?? Infinity,
      acksDue ?? Infinity,
      negotiationEnds,
    );
    return earliest === Infinity || this.#phase === 'gone' ? undefined : earliest;
  }

  #afterParse(step: ReturnType<KeyMethodParser['push']>): PlaintextStep {
    if (step.kind !== 'done') return step;
    this.client = step.message;
    return { kind: 'keyMethod', message: step.message, messages: this.#reader.push(step.rest) };
  }
}

const NOTHING = new Uint8Array(0);
const LEGACY_END_MS = 2_000;
const LEAST_RETRANSMIT_MS = 500;
