import { MAX_ACKS, MAX_CONTROL_ACKS } from './control-packet.ts';
import { Opcode, type ControlOpcode } from './opcode.ts';
import { ByteQueue } from './packet-assembly.ts';

/** A message of the control channel on its way out; wrapped afresh for each transmission. */
export interface OutgoingMessage {
  readonly opcode: ControlOpcode;
  readonly messageId: number;
  readonly payload: Uint8Array;
}

export interface SendQueueOptions {
  /** 0, or 1 for a session that continues a stateless answer. */
  readonly firstMessageId: number;
  /** The first retransmission comes this long after the transmission; each further one takes twice as long. */
  readonly retransmitMs: number;
  /** Once a round trip has been measured it is ROUND_TRIPS of them, no less than this and no more than `retransmitMs`. */
  readonly leastRetransmitMs: number;
  /** `false` on TCP. */
  readonly retransmits: boolean;
  /** Stream bytes per packet; see maxPayloadBytes. */
  readonly maxPayloadBytes: number;
}

/** 6 in flight: what 2.6 sends and every receiver (8 at least) holds. */
export const SEND_WINDOW = 6;
/** 12: what 2.6 receives. */
export const RECEIVE_WINDOW = 12;
/** A handshake with a long chain and a push of hundreds of routes fit many times. */
export const MAX_BACKLOG_BYTES = 262_144;
const LATER_ACKS_FOR_RESEND = 3;
const MAX_BACKOFF = 16;
const HURRIED_RETRANSMIT_MS = 500;
/** A client acknowledges with its next packet, after the work that ours means for it. */
const ROUND_TRIPS = 4;

interface InFlight extends OutgoingMessage {
  transmissions: number;
  sentAtMs: number;
  laterAcks: number;
  nextAtMs: number;
}

/**
 * One direction of one key's control channel, sending: numbers messages, keeps at most six in flight, repeats what is
 * not acknowledged. Times are milliseconds of one monotonic clock.
 */
export class SendQueue {
  readonly #options: SendQueueOptions;
  readonly #messages: { opcode: ControlOpcode; payload: Uint8Array }[] = [];
  readonly #stream = new ByteQueue();
  #inFlight: InFlight[] = [];
  #nextMessageId: number;
  #retransmitMs: number;
  #mostRetransmitMs: number;

  constructor(options: SendQueueOptions) {
    this.#options = options;
    this.#retransmitMs = options.retransmitMs;
    this.#mostRetransmitMs = options.retransmitMs;
    this.#nextMessageId = options.firstMessageId;
  }

  /** What is said from now on are last words: we will soon be gone, and many a client goes without acknowledging. */
  hurry(): void {
    this.#mostRetransmitMs = Math.min(this.#mostRetransmitMs, HURRIED_RETRANSMIT_MS);
    this.#retransmitMs = Math.min(this.#retransmitMs, this.#mostRetransmitMs);
  }

  /** Queues a message of its own, ahead of stream bytes: a reset. */
  pushMessage(opcode: ControlOpcode, payload: Uint8Array): void {
    this.#messages.push({ opcode, payload: payload.slice() });
  }

  /**
   * Queues TLS bytes; they leave in CONTROL_V1 packets as the window opens.
   * @returns false when the peer has left too much unacknowledged: nothing was queued and the stream is broken.
   */
  pushStream(bytes: Uint8Array): boolean {
    if (this.#stream.length + bytes.length > MAX_BACKLOG_BYTES) return false;
    this.#stream.push(bytes);
    return true;
  }

  /** Stream bytes that have not been sent once. */
  get backlogBytes(): number {
    return this.#stream.length;
  }

  /** Whether everything queued has been sent and acknowledged. */
  get isEmpty(): boolean {
    return this.#inFlight.length === 0 && !this.#hasUnsent();
  }

  /** Takes what is to be transmitted at `nowMs`: what is overdue, then what newly fits the window. */
  due(nowMs: number): readonly OutgoingMessage[] {
    const transmit: OutgoingMessage[] = [];
    for (const message of this.#inFlight) {
      if (message.nextAtMs > nowMs) continue;
      this.#transmitted(message, nowMs);
      transmit.push(message);
    }
    while (this.#hasUnsent() && this.#windowIsOpen()) transmit.push(this.#admit(nowMs));
    return transmit;
  }

  /** When `due` will next have something; undefined while nothing is in flight, and on TCP. */
  nextDeadline(): number | undefined {
    let earliest = Infinity;
    for (const message of this.#inFlight) earliest = Math.min(earliest, message.nextAtMs);
    return earliest === Infinity ? undefined : earliest;
  }

  /** Forgets acknowledged messages; the third acknowledgement of later ones makes a message due at once. */
  ack(ids: readonly number[], nowMs: number): void {
    for (const id of ids) {
      const at = this.#inFlight.findIndex((message) => message.messageId === id);
      if (at < 0) continue;
      const [{ transmissions, sentAtMs }] = this.#inFlight.splice(at, 1);
      // Of a message that was sent twice nobody knows which one was acknowledged.
      if (transmissions === 1) this.#measured(nowMs - sentAtMs);
      for (const earlier of this.#inFlight.slice(0, at)) this.#countLaterAck(earlier);
    }
  }

  /** Forgets all that is in flight: the peer has shown that it has it. */
  ackAll(): void {
    this.#inFlight = [];
  }

  /** Drops everything: the key state is gone. */
  clear(): void {
    this.#inFlight = [];
    this.#messages.length = 0;
    this.#stream.clear();
  }

  #hasUnsent(): boolean {
    return this.#messages.length > 0 || this.#stream.length > 0;
  }

  #windowIsOpen(): boolean {
    const oldest = this.#inFlight[0];
    return oldest === undefined || distance(oldest.messageId, this.#nextMessageId) < SEND_WINDOW;
  }

  #admit(nowMs: number): OutgoingMessage {
    const { opcode, payload } = this.#messages.shift() ?? {
      opcode: Opcode.ControlV1,
      payload: this.#stream.take(this.#options.maxPayloadBytes),
    };
    const message: InFlight = {
      opcode,
      messageId: this.#nextMessageId,
      payload,
      transmissions: 0,
      sentAtMs: nowMs,
      laterAcks: 0,
      nextAtMs: nowMs,
    };
    this.#nextMessageId = (this.#nextMessageId + 1) >>> 0;
    this.#transmitted(message, nowMs);
    this.#inFlight.push(message);
    return message;
  }

  #transmitted(message: InFlight, nowMs: number): void {
    message.transmissions += 1;
    message.sentAtMs = nowMs;
    message.nextAtMs = this.#nextAt(message);
  }

  #nextAt({ transmissions, sentAtMs }: InFlight): number {
    const backoff = Math.min(2 ** (transmissions - 1), MAX_BACKOFF);
    return this.#options.retransmits ? sentAtMs + this.#retransmitMs * backoff : Infinity;
  }

  /** What is in flight beside the acknowledged message may be lost: it need not wait longer than the next will. */
  #measured(roundTripMs: number): void {
    const ms = Math.max(this.#options.leastRetransmitMs, ROUND_TRIPS * roundTripMs);
    this.#retransmitMs = Math.min(ms, this.#mostRetransmitMs);
    for (const message of this.#inFlight) message.nextAtMs = Math.min(message.nextAtMs, this.#nextAt(message));
  }

  #countLaterAck(message: InFlight): void {
    message.laterAcks += 1;
    if (message.laterAcks !== LATER_ACKS_FOR_RESEND || !this.#options.retransmits) return;
    message.nextAtMs = -Infinity;
  }
}

export interface ReceivedMessage {
  readonly opcode: ControlOpcode;
  readonly payload: Uint8Array;
}

/** `beyond-window` is neither kept nor acknowledged. */
export type ReceiveVerdict = 'accepted' | 'duplicate' | 'beyond-window';

/** More ids than this can't be pending by an honest peer's doing. */
const MAX_PENDING_ACKS = 64;

/** One direction of one key's control channel, receiving: puts messages in order and remembers what to acknowledge. */
export class ReceiveQueue {
  #expected: number;
  readonly #buffered = new Map<number, ReceivedMessage>();
  #pending: number[] = [];
  #recent: readonly number[] = [];

  /** @param firstExpected 0, or 1 where the reset was answered without state. */
  constructor(firstExpected = 0) {
    this.#expected = firstExpected;
  }

  /** Keeps a copy of the payload. Duplicates are acknowledged again: the first acknowledgement may be lost. */
  receive(messageId: number, opcode: ControlOpcode, payload: Uint8Array): ReceiveVerdict {
    const ahead = distance(this.#expected, messageId);
    if (ahead >= RECEIVE_WINDOW) return 'beyond-window';
    this.#acknowledge(messageId);
    if (ahead < 0 || this.#buffered.has(messageId)) return 'duplicate';
    this.#buffered.set(messageId, { opcode, payload: payload.slice() });
    return 'accepted';
  }

  /** The next message in order, undefined while there is a gap. */
  next(): ReceivedMessage | undefined {
    const message = this.#buffered.get(this.#expected);
    if (message === undefined) return undefined;
    this.#buffered.delete(this.#expected);
    this.#expected = (this.#expected + 1) >>> 0;
    return message;
  }

  /** Messages not yet acknowledged. */
  get pendingAcks(): number {
    return this.#pending.length;
  }

  /**
   * Ids for a packet that is about to leave: those not yet acknowledged, then the most recently acknowledged again, which
   * makes a lost acknowledgement harmless. At most 4 beside a message, 8 in P_ACK_V1.
   */
  takeAcks(packet: 'control' | 'ack'): readonly number[] {
    const limit = packet === 'ack' ? MAX_ACKS : MAX_CONTROL_ACKS;
    const fresh = this.#pending.splice(0, limit).toReversed();
    this.#recent = [...fresh, ...this.#recent.filter((id) => !fresh.includes(id))].slice(0, MAX_ACKS);
    return this.#recent.slice(0, limit);
  }

  #acknowledge(messageId: number): void {
    if (this.#pending.includes(messageId) || this.#pending.length >= MAX_PENDING_ACKS) return;
    this.#pending.push(messageId);
  }
}

/** How far `id` is after `from`, modulo 2^32: −2^31..2^31−1. */
function distance(from: number, id: number): number {
  return (id - from) | 0;
}
