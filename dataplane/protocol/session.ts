import { timingSafeEqual } from 'node:crypto';
import type { ClientMessage } from './control-message.ts';
import { decodeControlHeader, ControlDrop, type ControlPacket } from './control-packet.ts';
import { tlsCryptWrap, type ControlWrap } from './control-wrap.ts';
import { dynamicTlsCryptKey } from './dynamic-tls-crypt.ts';
import { encodeServerKeyMethod, type KeyMethodMessage, type ServerKeySource } from './key-method.ts';
import { KeyState, type PlaintextStep, type TlsFacts } from './key-state.ts';
import { nextKeyId, Opcode } from './opcode.ts';
import { maxPayloadBytes } from './packet-assembly.ts';
import type { HandshakeFailure, SessionDrop } from './reasons.ts';
import { splitWrappedClientKey } from './tls-crypt-v2.ts';
import { WrapPacketIdWindow, type WrapPacketIds } from './wrap-packet-id.ts';

/** What a session does to the world, and what it learned from its client. Calls come from within the session's methods. */
export interface SessionPort {
  transmit(packet: Uint8Array): void;
  /** Starts a TLS server connection. @returns its name. */
  tlsStart(): number;
  tlsInput(tls: number, bytes: Uint8Array): void;
  tlsWrite(tls: number, bytes: Uint8Array): void;
  /** The key is gone, and its TLS connection with it. */
  tlsClose(key: KeyState): void;
  /** Whether one more packet, which its wrap has shown to be the client's, may be looked at now. */
  mayHear(): boolean;
  /** Whether this much more of an unfinished key-method message may be kept. */
  mayCollect(key: KeyState, bytes: number): boolean;
  /** The client has begun to renew, whether it may now or must ask again. */
  onSoftReset(): void;
  /** The client asked for a new key and got it under way. */
  onClientRenewal(key: KeyState): void;
  onKeyMethod(key: KeyState, message: KeyMethodMessage): void;
  /** The client can read control messages under this key from now on. */
  onActive(key: KeyState): void;
  onMessage(key: KeyState, message: ClientMessage): void;
  /** This negotiation leads nowhere. The owner closes the session or abandons the key. */
  onKeyFailed(key: KeyState, reason: HandshakeFailure): void;
}

export interface SessionTimers {
  readonly handWindowMs: number;
  readonly retransmitMs: number;
  /** Least time between renewals that the client starts. */
  readonly clientRenewalPauseMs: number;
  /** How long the key before the current one may still carry control packets. */
  readonly retiringControlMs: number;
}

export interface SessionOptions {
  readonly port: SessionPort;
  readonly timers: SessionTimers;
  readonly transport: 'udp' | 'tcp';
  /** Kept as they are. */
  readonly ourSessionId: Uint8Array;
  readonly peerSessionId: Uint8Array;
  readonly wrap: ControlWrap;
  /** The key behind `wrap`, which dynamic tls-crypt mixes in; null without a wrap. */
  readonly wrapKey: Uint8Array | null;
  readonly wrapPacketIds: WrapPacketIds;
  /** Wrapped client keys trail some packets. */
  readonly hasWrappedClientKeys: boolean;
  /** `answered`: our hard reset went out without state and was acknowledged. `fresh`: it is still to be sent. */
  readonly start: 'answered' | 'fresh';
  readonly nowMs: number;
}

interface WrapState {
  readonly wrap: ControlWrap;
  readonly ids: WrapPacketIds;
  readonly window: WrapPacketIdWindow;
}

/**
 * The control channel with one peer: wraps, up to three keys (current, the one being negotiated, the one retiring), and
 * the rules by which keys follow one another. Times are milliseconds of one monotonic clock.
 */
export class Session {
  readonly ourSessionId: Uint8Array;
  readonly peerSessionId: Uint8Array;
  readonly #options: SessionOptions;
  readonly #port: SessionPort;
  readonly #base: WrapState;
  #dynamic: WrapState | undefined;
  /** What `#dynamic` is made from when the first renewal comes: most of it is made for nothing otherwise. */
  #dynamicKey: { readonly key: Uint8Array; readonly ids: WrapPacketIds } | undefined;
  #current: KeyState;
  #negotiating: KeyState | undefined;
  #retiring: KeyState | undefined;
  #retiringUntilMs = Infinity;
  #lastKeyId = 0;
  #mayRenew = false;
  #clientRenewalFromMs = -Infinity;
  #untold: string[] = [];
  /** Told under the current key, and not acknowledged yet. */
  #unread: string[] = [];
  #farewell: string | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#port = options.port;
    this.ourSessionId = options.ourSessionId;
    this.peerSessionId = options.peerSessionId;
    this.#base = { wrap: options.wrap, ids: options.wrapPacketIds, window: new WrapPacketIdWindow() };
    this.#current = this.#newKey(0, options.start === 'answered' ? 1 : 0, options.nowMs);
    if (options.start === 'fresh') this.#current.send.pushMessage(Opcode.HardResetServerV2, new Uint8Array(0));
  }

  get current(): KeyState {
    return this.#current;
  }

  get negotiating(): KeyState | undefined {
    return this.#negotiating;
  }

  /** @returns the reason when the packet had no effect. @throws never */
  receive(bytes: Uint8Array, nowMs: number): SessionDrop | undefined {
    const head = decodeControlHeader(bytes);
    if (!head.ok) return head.reason;
    const { keyId, opcode, sessionId } = head.header;
    if (!timingSafeEqual(sessionId, this.peerSessionId)) return 'foreign-session';
    const wrap = this.#wrapOf(keyId);
    let packetBytes = bytes;
    if (opcode === Opcode.HardResetClientV3 || opcode === Opcode.ControlWkcV1) {
      if (!this.#options.hasWrappedClientKeys) return ControlDrop.UnknownOpcode;
      // The session's own key was set when it was made; another one here is a retransmission or an attack.
      const split = splitWrappedClientKey(bytes);
      if (!split.ok) return split.reason;
      packetBytes = split.packet;
    }
    const unwrapped = wrap.wrap.unwrap(packetBytes);
    if (!unwrapped.ok) return unwrapped.reason;
    if (unwrapped.packetId !== null && wrap.window.accept(unwrapped.packetId, nowMs) !== 'fresh')
      return 'control-replayed';
    if (!this.#port.mayHear()) return 'control-packet-limit';
    return this.#receivePacket(unwrapped.packet, nowMs);
  }

  onTlsOutput(tls: number, bytes: Uint8Array, nowMs: number): void {
    const key = this.#keyOfTls(tls);
    if (key === undefined) return;
    const fits = key.pushTlsOutput(bytes);
    this.#sendDue(key, nowMs);
    if (!fits && key !== this.#retiring) this.#port.onKeyFailed(key, 'acknowledges-too-little');
  }

  onTlsReady(tls: number, facts: TlsFacts): KeyState | undefined {
    const key = this.#keyOfTls(tls);
    if (key !== undefined) key.facts = facts;
    return key;
  }

  onTlsPlaintext(tls: number, bytes: Uint8Array, nowMs: number): void {
    const key = this.#keyOfTls(tls);
    if (key?.facts === undefined) return;
    if (key.client === undefined && !this.#port.mayCollect(key, bytes.length))
      this.#port.onKeyFailed(key, 'handshake-memory');
    else this.#follow(key, key.pushPlaintext(bytes, nowMs));
  }

  onTlsFailed(tls: number, reason: HandshakeFailure): void {
    const key = this.#keyOfTls(tls);
    if (key !== undefined && key !== this.#retiring) this.#port.onKeyFailed(key, reason);
  }

  /** Sends our half of the key exchange; always, whatever becomes of the login. */
  answerKeyMethod(key: KeyState, source: ServerKeySource, options: string): void {
    key.markAnswered(source);
    this.#port.tlsWrite(key.tls, encodeServerKeyMethod(source, options));
  }

  /** Sends a control message under `key`, as soon as the client can read it. */
  say(key: KeyState, text: string): void {
    for (const bytes of key.say(text)) this.#port.tlsWrite(key.tls, bytes);
  }

  /** Sends a last message. While a renewal runs, 2.x listens to the new key alone and OpenVPN 3 to the old: both hear it. */
  sayFarewell(text: string): void {
    this.#farewell = text;
    if (this.#negotiating?.isHeard === true) this.#sayLast(this.#negotiating, text);
    this.#sayLast(this.#current, text);
  }

  #sayLast(key: KeyState, text: string): void {
    key.send.hurry();
    this.say(key, text);
  }

  /**
   * Sends what only the client we know may read. Who is at the other end of a renewal is unknown until it is granted, and
   * 2.x listens to the new key alone: while one runs, it waits for the outcome (CVE-2020-15078).
   */
  tell(text: string): void {
    if (this.#negotiating !== undefined) {
      this.#untold.push(text);
      return;
    }
    this.#unread.push(text);
    this.say(this.#current, text);
  }

  /** Whether the client has acknowledged all that was said. */
  get isQuiet(): boolean {
    return this.#current.isQuiet && (this.#negotiating?.phase !== 'active' || this.#negotiating.isQuiet);
  }

  /** The first key works: renewals are allowed from now on, wrapped by a key of their own if `dynamicWrap` says so. */
  establish(dynamicWrap: 'dynamic-tls-crypt' | 'base', ids: WrapPacketIds): void {
    this.#mayRenew = true;
    const { facts } = this.#current;
    if (dynamicWrap === 'base' || facts === undefined) return;
    this.#dynamicKey = { key: dynamicTlsCryptKey(facts.dynamicTlsCrypt, this.#options.wrapKey), ids };
    this.#current.forgetDynamicTlsCrypt();
  }

  /** Starts a renewal. @returns undefined while one is running or none is allowed. */
  startRenewal(nowMs: number): KeyState | undefined {
    if (!this.#mayRenew || this.#negotiating !== undefined) return undefined;
    const key = this.#beginNegotiation(nextKeyId(this.#lastKeyId), nowMs);
    this.#flush(key, nowMs);
    return key;
  }

  /** The client has shown that it has read all of our answer in this renewal, whatever became of its acknowledgements. */
  conclude(keyId: number): void {
    const key = this.#negotiating;
    if (key?.keyId !== keyId || key.phase !== 'answered') return;
    key.send.ackAll();
    if (key.becomeActive()) this.#activate(key);
  }

  /** The negotiated key takes over; the one before it retires. */
  promote(key: KeyState, nowMs: number): void {
    if (key !== this.#negotiating) return;
    this.#dropRetiring();
    this.#retiring = this.#current;
    this.#retiringUntilMs = nowMs + this.#options.timers.retiringControlMs;
    this.#current = key;
    this.#negotiating = undefined;
    // Since it began to renew, 2.x has heard nothing more under the key before.
    this.#untold.unshift(...this.#unread);
    this.#unread = [];
    this.#tellUntold();
  }

  /** Forgets a negotiation that failed; the current key stays. */
  abandon(key: KeyState): void {
    if (key !== this.#negotiating) return;
    this.#negotiating = undefined;
    // A client that never heard of it will count on from the key before.
    if (!key.isHeard) this.#lastKeyId = this.#current.keyId;
    this.#destroy(key);
    this.#tellUntold();
  }

  /** Ends everything, silently. */
  destroy(): void {
    this.#dropRetiring();
    if (this.#negotiating !== undefined) this.#destroy(this.#negotiating);
    this.#negotiating = undefined;
    this.#destroy(this.#current);
    this.#dynamicKey?.key.fill(0);
    this.#dynamicKey = undefined;
    this.#dynamic = undefined;
  }

  onDeadline(nowMs: number): void {
    if (nowMs >= this.#retiringUntilMs) this.#dropRetiring();
    for (const key of [this.#current, this.#negotiating, this.#retiring]) {
      if (key === undefined) continue;
      this.#follow(key, key.finishLegacy(nowMs));
      if (key.isOverdue(nowMs)) this.#port.onKeyFailed(key, 'hand-window-over');
      else this.#flush(key, nowMs);
    }
  }

  nextDeadline(): number | undefined {
    const earliest = Math.min(
      this.#current.nextDeadline() ?? Infinity,
      this.#negotiating?.nextDeadline() ?? Infinity,
      this.#retiring?.nextDeadline() ?? Infinity,
      this.#retiringUntilMs,
    );
    return earliest === Infinity ? undefined : earliest;
  }

  /** Sends what waits, the first hard reset of a `fresh` session for one. */
  flush(nowMs: number): void {
    this.#flush(this.#current, nowMs);
  }

  #receivePacket(packet: ControlPacket, nowMs: number): SessionDrop | undefined {
    if (packet.peerSessionId !== null && !timingSafeEqual(packet.peerSessionId, this.ourSessionId))
      return 'wrong-receiver';
    const known = this.#keyOfId(packet.keyId);
    const key = known ?? this.#acceptSoftReset(packet, nowMs);
    if (key === undefined) return packet.opcode === Opcode.SoftResetV1 ? 'renewal-not-allowed' : 'control-unknown-key';
    const isNews = key === this.#negotiating && !key.isHeard;
    key.heardMs = nowMs;
    key.send.ack(packet.acks, nowMs);
    if (key === this.#current && key.isQuiet) this.#unread = [];
    let verdict: SessionDrop | undefined;
    let isTlsBusy = false;
    if (packet.messageId !== null) {
      const message = { id: packet.messageId, opcode: packet.opcode, payload: packet.payload };
      const toTls = (bytes: Uint8Array): void => {
        isTlsBusy = true;
        this.#port.tlsInput(key.tls, bytes);
      };
      if (key.receiveMessage(message, toTls) === 'beyond-window') verdict = 'beyond-window';
    }
    // What TLS says to that comes within this turn, and acknowledgements ride on it; those of a packet before as well.
    const mayRide = isTlsBusy || packet.messageId === null;
    if (mayRide && key.receive.pendingAcks < LONE_ACKS) this.#sendDue(key, nowMs);
    else this.#flush(key, nowMs);
    if (known === undefined) this.#port.onClientRenewal(key);
    // From now on it hears nothing under the key before, whoever of us began to renew.
    if (isNews && this.#farewell !== undefined) this.#sayLast(key, this.#farewell);
    if (key.becomeActive()) this.#activate(key);
    return verdict;
  }

  #tellUntold(): void {
    const texts = this.#untold;
    this.#untold = [];
    for (const text of texts) this.tell(text);
  }

  #activate(key: KeyState): void {
    for (const bytes of key.takeSayable()) this.#port.tlsWrite(key.tls, bytes);
    this.#port.onActive(key);
  }

  #acceptSoftReset(packet: ControlPacket, nowMs: number): KeyState | undefined {
    if (packet.opcode !== Opcode.SoftResetV1 || packet.messageId !== 0) return undefined;
    if (!this.#mayRenew) return undefined;
    // A client begins the next renewal once it has ours of this one, and acknowledges nothing of it from then on.
    const running = this.#negotiating;
    if (running !== undefined && packet.keyId === nextKeyId(running.keyId)) this.conclude(running.keyId);
    if (this.#negotiating !== undefined) return undefined;
    const expected = [nextKeyId(this.#current.keyId), nextKeyId(this.#lastKeyId)];
    if (!expected.includes(packet.keyId)) return undefined;
    this.#port.onSoftReset();
    if (nowMs < this.#clientRenewalFromMs) return undefined;
    this.#clientRenewalFromMs = nowMs + this.#options.timers.clientRenewalPauseMs;
    return this.#beginNegotiation(packet.keyId, nowMs);
  }

  #beginNegotiation(keyId: number, nowMs: number): KeyState {
    if (this.#retiring?.keyId === keyId) this.#dropRetiring();
    const key = this.#newKey(keyId, 0, nowMs);
    key.send.pushMessage(Opcode.SoftResetV1, new Uint8Array(0));
    this.#negotiating = key;
    this.#lastKeyId = keyId;
    return key;
  }

  #newKey(keyId: number, firstMessageId: 0 | 1, nowMs: number): KeyState {
    const { timers, transport } = this.#options;
    return new KeyState({
      keyId,
      tls: this.#port.tlsStart(),
      nowMs,
      handWindowMs: timers.handWindowMs,
      retransmitMs: timers.retransmitMs,
      retransmits: transport === 'udp',
      maxPayloadBytes: maxPayloadBytes(this.#wrapOf(keyId).wrap.overheadBytes),
      firstMessageId,
    });
  }

  #follow(key: KeyState, step: PlaintextStep): void {
    switch (step.kind) {
      case 'more':
        return;
      case 'failed':
        this.#port.onKeyFailed(key, step.reason);
        return;
      case 'keyMethod':
        this.#port.onKeyMethod(key, step.message);
        for (const message of step.messages) this.#port.onMessage(key, message);
        return;
      case 'messages':
        for (const message of step.messages) this.#port.onMessage(key, message);
    }
  }

  #sendDue(key: KeyState, nowMs: number): void {
    if (key.phase === 'gone') return;
    for (const message of key.send.due(nowMs)) {
      this.#transmit(key, message.opcode, key.receive.takeAcks('control'), message.messageId, message.payload);
    }
  }

  /** Sends what is due under `key`; acknowledgements that found no packet to ride on go alone. */
  #flush(key: KeyState, nowMs: number): void {
    if (key.phase === 'gone') return;
    this.#sendDue(key, nowMs);
    while (key.receive.pendingAcks > 0)
      this.#transmit(key, Opcode.AckV1, key.receive.takeAcks('ack'), null, new Uint8Array(0));
  }

  #transmit(
    key: KeyState,
    opcode: ControlPacket['opcode'],
    acks: readonly number[],
    messageId: number | null,
    payload: Uint8Array,
  ): void {
    const { wrap, ids } = this.#wrapOf(key.keyId);
    const peerSessionId = acks.length > 0 ? this.peerSessionId : null;
    const { keyId } = key;
    this.#port.transmit(
      wrap.wrap({ opcode, keyId, sessionId: this.ourSessionId, acks, peerSessionId, messageId, payload }, ids),
    );
  }

  #wrapOf(keyId: number): WrapState {
    if (keyId === 0) return this.#base;
    if (this.#dynamicKey !== undefined) {
      const { key, ids } = this.#dynamicKey;
      this.#dynamicKey = undefined;
      this.#dynamic = { wrap: tlsCryptWrap(key, 'server'), ids, window: new WrapPacketIdWindow() };
      key.fill(0);
    }
    return this.#dynamic ?? this.#base;
  }

  #keyOfId(keyId: number): KeyState | undefined {
    return [this.#current, this.#negotiating, this.#retiring].find((key) => key?.keyId === keyId);
  }

  #keyOfTls(tls: number): KeyState | undefined {
    return [this.#current, this.#negotiating, this.#retiring].find((key) => key?.tls === tls);
  }

  #dropRetiring(): void {
    if (this.#retiring !== undefined) this.#destroy(this.#retiring);
    this.#retiring = undefined;
    this.#retiringUntilMs = Infinity;
  }

  #destroy(key: KeyState): void {
    if (key.phase === 'gone') return;
    key.destroy();
    this.#port.tlsClose(key);
  }
}

/** So many acknowledgements wait for no packet: 2.4 sends no more than this without one. */
const LONE_ACKS = 4;
