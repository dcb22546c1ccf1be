import { concatBytes } from '../../dataplane/protocol/bytes.ts';
import { encodeControlMessage } from '../../dataplane/protocol/control-message.ts';
import type { ControlPacket } from '../../dataplane/protocol/control-packet.ts';
import { tlsCryptWrap, type ControlWrap } from '../../dataplane/protocol/control-wrap.ts';
import { dataKeysFromBlock, keyBlockFromPrf } from '../../dataplane/protocol/data-keys.ts';
import { dynamicTlsCryptKey } from '../../dataplane/protocol/dynamic-tls-crypt.ts';
import { isDataOpcode, keyIdOf, nextKeyId, Opcode, opcodeOf } from '../../dataplane/protocol/opcode.ts';
import { maxPayloadBytes } from '../../dataplane/protocol/packet-assembly.ts';
import type { OutgoingMessage, ReceivedMessage } from '../../dataplane/protocol/reliability.ts';
import { WrapPacketIds, WrapPacketIdWindow } from '../../dataplane/protocol/wrap-packet-id.ts';
import { ClientDataChannel, isPing, OCC_EXIT_PAYLOAD_BYTES, PING_PAYLOAD_BYTES } from './client-data-channel.ts';
import type { ClientConfig, ClientInput, ClientOutput } from './client-io.ts';
import { encodeClientKeyMethod } from './client-key-method.ts';
import { ClientKeyState } from './client-key-state.ts';
import { PushCollector, settingsFromPush, type PushedSettings } from './client-push.ts';
import { asksToResendWkc, baseKeyOf, baseWrapFor } from './client-wrap.ts';

const PUSH_REQUEST_INTERVAL_MS = 5000;
/** Signals to a server that this client knows how to resend its wrapped key. */
const EARLY_NEGOTIATION_ID = 0x0f000001;

/**
 * An OpenVPN client for tests and load: a function of its inputs, like the engine. TLS, sockets, time and randomness
 * are the caller's. One machine is one connection; a reconnect is a new machine.
 */
export class ClientMachine {
  readonly #config: ClientConfig;
  readonly #sessionId: Uint8Array;
  readonly #baseWrap: ControlWrap;
  readonly #baseIds: WrapPacketIds;
  readonly #baseWindow = new WrapPacketIdWindow();
  #renewalWrap: ControlWrap;
  #renewalIds: WrapPacketIds;
  #renewalWindow: WrapPacketIdWindow;
  #serverSessionId: Uint8Array | null = null;
  #current: ClientKeyState | null = null;
  #renewing: ClientKeyState | null = null;
  #nextTls = 1;
  readonly #push = new PushCollector();
  #settings: PushedSettings | null = null;
  #data: ClientDataChannel | null = null;
  #pushRequestAtMs = Infinity;
  #keySwitchAtMs = Infinity;
  #pingAtMs = Infinity;
  #silentAtMs = Infinity;
  /** Why the machine is about to be over; acknowledgements still leave. */
  #closing: string | null = null;
  #isClosed = false;
  #outputs: ClientOutput[] = [];

  constructor(config: ClientConfig) {
    this.#config = config;
    this.#sessionId = config.random(8);
    this.#baseWrap = baseWrapFor(config.wrap);
    this.#baseIds = new WrapPacketIds(config.unixS, config.wrap.kind === 'tls-crypt-v2' ? EARLY_NEGOTIATION_ID : 1);
    this.#renewalWrap = this.#baseWrap;
    this.#renewalIds = this.#baseIds;
    this.#renewalWindow = this.#baseWindow;
  }

  get isConnected(): boolean {
    return this.#settings !== null && !this.#isClosed;
  }

  get sendingKeyId(): number | undefined {
    return this.#data?.sendingKeyId;
  }

  /** Takes one input; the outputs are to be carried out in order. */
  handle(input: ClientInput, nowMs: number): readonly ClientOutput[] {
    if (this.#isClosed) return [];
    this.#outputs = [];
    this.#dispatch(input, nowMs);
    this.#flush(nowMs);
    if (this.#closing !== null) this.#finish(this.#closing);
    return this.#outputs;
  }

  nextDeadline(): number | undefined {
    if (this.#isClosed) return undefined;
    const deadlines = [this.#pushRequestAtMs, this.#keySwitchAtMs, this.#pingAtMs, this.#silentAtMs];
    for (const state of this.#states()) {
      deadlines.push(state.send.nextDeadline() ?? Infinity);
      if (this.#isNegotiating(state)) deadlines.push(state.createdMs + this.#config.handWindowMs);
    }
    const earliest = Math.min(...deadlines);
    return earliest === Infinity ? undefined : earliest;
  }

  #dispatch(input: ClientInput, nowMs: number): void {
    switch (input.kind) {
      case 'connect':
        this.#current = this.#newKeyState(0, nowMs);
        return;
      case 'datagram':
        return this.#handleDatagram(input.bytes, nowMs);
      case 'tlsOutput':
        return this.#handleTlsOutput(input.tls, input.bytes);
      case 'tlsReady':
        return this.#handleTlsReady(input.tls, input.dataKeys, input.dynamicTlsCrypt);
      case 'tlsPlaintext':
        return this.#handlePlaintext(input.tls, input.bytes, nowMs);
      case 'tlsFailed':
        return this.#close(`tls: ${input.reason}`);
      case 'inner':
        return this.#sendInner(input.bytes, nowMs);
      case 'controlText':
        return this.#sendText(input.text);
      case 'renew':
        return this.#renew(nowMs);
      case 'exit':
        return this.#exit(nowMs);
      case 'deadline':
        return this.#handleDeadline(nowMs);
    }
  }

  #handleDatagram(bytes: Uint8Array, nowMs: number): void {
    if (bytes.length === 0) return;
    if (isDataOpcode(opcodeOf(bytes[0]))) return this.#handleData(bytes, nowMs);
    const isRenewal = keyIdOf(bytes[0]) !== 0;
    const unwrapped = (isRenewal ? this.#renewalWrap : this.#baseWrap).unwrap(bytes);
    if (!unwrapped.ok) return;
    const { packet, packetId } = unwrapped;
    const window = isRenewal ? this.#renewalWindow : this.#baseWindow;
    if (packetId !== null && window.accept(packetId, nowMs) !== 'fresh') return;
    this.#handleControl(packet, nowMs);
  }

  #handleControl(packet: ControlPacket, nowMs: number): void {
    const isReset = packet.opcode === Opcode.HardResetServerV2;
    if (isReset) this.#serverSessionId ??= packet.sessionId.slice();
    if (!isSame(packet.sessionId, this.#serverSessionId)) return;
    if (packet.peerSessionId !== null && !isSame(packet.peerSessionId, this.#sessionId)) return;
    this.#heard(nowMs);

    let state = this.#states().find(({ keyId }) => keyId === packet.keyId);
    if (state === undefined && packet.opcode === Opcode.SoftResetV1 && this.#mayRenew(packet.keyId)) {
      state = this.#newKeyState(packet.keyId, nowMs);
      this.#renewing = state;
    }
    if (state === undefined) return;
    state.send.ack(packet.acks, nowMs);
    if (packet.messageId === null) return;
    state.receive.receive(packet.messageId, packet.opcode, packet.payload);
    for (let message = state.receive.next(); message !== undefined; message = state.receive.next()) {
      this.#handleMessage(state, message);
    }
  }

  #handleMessage(state: ClientKeyState, message: ReceivedMessage): void {
    if (message.opcode === Opcode.ControlV1) {
      if (state.phase !== 'reset') this.#emit({ kind: 'tlsInput', tls: state.tls, bytes: message.payload });
      return;
    }
    if (state.phase !== 'reset') return;
    state.phase = 'tls';
    this.#resendsWkc = message.opcode === Opcode.HardResetServerV2 && asksToResendWkc(message.payload);
    this.#emit({ kind: 'tlsStart', tls: state.tls });
  }
  #resendsWkc = false;

  #handleTlsOutput(tls: number, bytes: Uint8Array): void {
    const state = this.#stateOfTls(tls);
    if (state === undefined) return;
    if (!this.#resendsWkc || this.#config.wrap.kind !== 'tls-crypt-v2') {
      state.send.pushStream(bytes);
      return;
    }
    // The wrapped key takes room in the packet that carries it.
    this.#resendsWkc = false;
    const room = maxPayloadBytes(this.#baseWrap.overheadBytes) - this.#config.wrap.key.wrappedClientKey.length;
    const beside = bytes.subarray(0, Math.max(room, 0));
    state.send.pushMessage(Opcode.ControlWkcV1, beside);
    state.send.pushStream(bytes.subarray(beside.length));
  }

  #handleTlsReady(tls: number, dataKeys: Uint8Array, dynamicTlsCrypt: Uint8Array): void {
    const state = this.#stateOfTls(tls);
    if (state === undefined) return;
    state.phase = 'key-method';
    state.exportedDataKeys = dataKeys;
    state.exportedTlsCrypt = dynamicTlsCrypt;
    const { protocolBits, peerInfo, framing, options, username, password } = this.#config;
    const lines = Object.entries(protocolBits === 0 ? peerInfo : { ...peerInfo, IV_PROTO: String(protocolBits) });
    const bytes = encodeClientKeyMethod({
      framing,
      source: state.source,
      options,
      username,
      password,
      peerInfo: lines.map(([key, value]) => `${key}=${value}\n`).join(''),
    });
    this.#emit({ kind: 'tlsWrite', tls, bytes });
  }

  #handlePlaintext(tls: number, bytes: Uint8Array, nowMs: number): void {
    const state = this.#stateOfTls(tls);
    if (state === undefined) return;
    let rest = bytes;
    if (state.phase === 'key-method') {
      const taken = state.takeKeyMethod(bytes);
      if (taken === 'more') return;
      if (taken === 'malformed') return this.#close('malformed server key method');
      rest = taken.rest;
      this.#becomeActive(state, nowMs);
    }
    for (const text of state.takeMessages(rest)) {
      if (this.#closing === null) this.#handleText(text, nowMs);
    }
  }

  #becomeActive(state: ClientKeyState, nowMs: number): void {
    state.phase = 'active';
    if (state === this.#current) {
      this.#pushRequestAtMs = nowMs + this.#config.pushRequestMs;
      return;
    }
    this.#installKey(state);
    this.#current = state;
    this.#renewing = null;
    this.#keySwitchAtMs = nowMs + this.#config.keySwitchMs;
  }

  #handleText(text: string, nowMs: number): void {
    this.#emit({ kind: 'message', text });
    const command = text.split(',', 1)[0];
    if (command === 'PUSH_REPLY') this.#handlePush(text, nowMs);
    else if (command === 'AUTH_FAILED' || command === 'RESTART' || command === 'HALT' || command === 'EXIT') {
      this.#close(text);
    }
  }

  #handlePush(text: string, nowMs: number): void {
    const options = this.#push.push(text);
    const state = this.#current;
    if (options === undefined || state === null || this.#settings !== null) return;
    const settings = settingsFromPush(options, this.#config.cipher);
    this.#settings = settings;
    this.#pushRequestAtMs = Infinity;
    this.#data = new ClientDataChannel(settings.data);
    this.#emit({ kind: 'connected', settings });
    this.#installKey(state);
    this.#pingAtMs = settings.pingMs === 0 ? Infinity : nowMs + settings.pingMs;
    this.#heard(nowMs);
    if (settings.dynamicTlsCrypt && state.exportedTlsCrypt !== null) {
      const key = dynamicTlsCryptKey(state.exportedTlsCrypt, baseKeyOf(this.#config.wrap));
      this.#renewalWrap = tlsCryptWrap(key, 'client');
      this.#renewalIds = new WrapPacketIds(this.#config.unixS);
      this.#renewalWindow = new WrapPacketIdWindow();
    }
  }

  #installKey(state: ClientKeyState): void {
    const settings = this.#settings;
    if (settings === null || state.serverSource === null || state.exportedDataKeys === null) return;
    const block = settings.usesExporter
      ? state.exportedDataKeys
      : keyBlockFromPrf({
          client: state.source,
          server: state.serverSource,
          clientSessionId: this.#sessionId,
          serverSessionId: this.#serverSessionId ?? new Uint8Array(8),
        });
    const { epochFormat } = settings.data;
    const key = dataKeysFromBlock(block, { keyId: state.keyId, cipher: settings.cipher, epochFormat });
    if (key === undefined) return this.#close('all-zero data key');
    this.#data?.addKey(key);
    this.#emit({ kind: 'dataKey', key });
  }

  #handleData(bytes: Uint8Array, nowMs: number): void {
    const opened = this.#data?.open(bytes);
    if (opened === undefined) return;
    this.#heard(nowMs);
    if (opened.keyId === this.#current?.keyId) this.#switchKey();
    if (!isPing(opened.inner)) this.#emit({ kind: 'inner', bytes: opened.inner });
  }

  #switchKey(): void {
    if (this.#current !== null) this.#data?.sendOn(this.#current.keyId);
    this.#keySwitchAtMs = Infinity;
  }

  #sendInner(inner: Uint8Array, nowMs: number): void {
    const pingMs = this.#settings?.pingMs ?? 0;
    if (pingMs > 0) this.#pingAtMs = nowMs + pingMs;
    const packet = this.#data?.seal(inner);
    if (packet !== undefined) this.#emit({ kind: 'transmit', bytes: packet });
  }

  #sendText(text: string): void {
    if (this.#current?.phase !== 'active') return;
    this.#emit({ kind: 'tlsWrite', tls: this.#current.tls, bytes: encodeControlMessage(text) });
  }

  #renew(nowMs: number): void {
    if (this.#current === null || this.#settings === null || this.#renewing !== null) return;
    this.#renewing = this.#newKeyState(nextKeyId(this.#current.keyId), nowMs);
  }

  #mayRenew(keyId: number): boolean {
    return this.#settings !== null && this.#renewing === null && keyId === nextKeyId(this.#current?.keyId ?? 0);
  }

  /** Says goodbye; the machine stays to have an EXIT acknowledged. */
  #exit(nowMs: number): void {
    if (this.#settings?.exitByControl === true) return this.#sendText('EXIT');
    if (this.#config.transport === 'udp') this.#sendInner(OCC_EXIT_PAYLOAD_BYTES, nowMs);
    this.#close('exit');
  }

  #handleDeadline(nowMs: number): void {
    if (nowMs >= this.#silentAtMs) return this.#close('ping-restart');
    const stalled = this.#states().find(
      (state) => this.#isNegotiating(state) && nowMs >= state.createdMs + this.#config.handWindowMs,
    );
    if (stalled !== undefined && stalled === this.#renewing) {
      this.#renewing = null;
      this.#emit({ kind: 'tlsClose', tls: stalled.tls });
    } else if (stalled !== undefined) return this.#close('handshake timed out');
    if (nowMs >= this.#keySwitchAtMs) this.#switchKey();
    if (nowMs >= this.#pingAtMs) this.#sendInner(PING_PAYLOAD_BYTES, nowMs);
    if (nowMs >= this.#pushRequestAtMs) {
      this.#pushRequestAtMs = nowMs + PUSH_REQUEST_INTERVAL_MS;
      this.#sendText('PUSH_REQUEST');
    }
  }

  /** Sends what is due on every key, then acknowledgements that found no packet to ride on. */
  #flush(nowMs: number): void {
    for (const state of this.#states()) {
      for (const message of state.send.due(nowMs)) this.#transmit(state, message, message.payload);
      while (state.receive.pendingAcks > 0 && this.#serverSessionId !== null) {
        this.#transmit(state, { opcode: Opcode.AckV1, messageId: null }, new Uint8Array(0));
      }
    }
  }

  #transmit(
    state: ClientKeyState,
    message: Pick<OutgoingMessage, 'opcode'> & { readonly messageId: number | null },
    payload: Uint8Array,
  ): void {
    const acks = state.receive.takeAcks(message.messageId === null ? 'ack' : 'control');
    const packet: ControlPacket = {
      opcode: message.opcode,
      keyId: state.keyId,
      sessionId: this.#sessionId,
      acks,
      peerSessionId: acks.length > 0 ? this.#serverSessionId : null,
      messageId: message.messageId,
      payload,
    };
    const wrapped =
      state.keyId === 0 ? this.#baseWrap.wrap(packet, this.#baseIds) : this.#renewalWrap.wrap(packet, this.#renewalIds);
    this.#emit({ kind: 'transmit', bytes: this.#withWrappedKey(message.opcode, wrapped) });
  }

  #withWrappedKey(opcode: number, packet: Uint8Array): Uint8Array {
    const carries = opcode === Opcode.HardResetClientV3 || opcode === Opcode.ControlWkcV1;
    const { wrap } = this.#config;
    return carries && wrap.kind === 'tls-crypt-v2' ? concatBytes(packet, wrap.key.wrappedClientKey) : packet;
  }

  #newKeyState(keyId: number, nowMs: number): ClientKeyState {
    const hardReset = this.#config.wrap.kind === 'tls-crypt-v2' ? Opcode.HardResetClientV3 : Opcode.HardResetClientV2;
    const tls = this.#nextTls;
    this.#nextTls += 1;
    return new ClientKeyState({
      keyId,
      tls,
      nowMs,
      reset: keyId === 0 ? hardReset : Opcode.SoftResetV1,
      retransmitMs: this.#config.retransmitMs,
      retransmits: this.#config.transport === 'udp',
      maxPayloadBytes: maxPayloadBytes((keyId === 0 ? this.#baseWrap : this.#renewalWrap).overheadBytes),
      random: this.#config.random,
    });
  }

  #states(): readonly ClientKeyState[] {
    return [this.#current, this.#renewing].filter((state) => state !== null);
  }

  #stateOfTls(tls: number): ClientKeyState | undefined {
    return this.#states().find((state) => state.tls === tls);
  }

  #isNegotiating(state: ClientKeyState): boolean {
    return state.phase !== 'active';
  }

  #heard(nowMs: number): void {
    this.#silentAtMs = nowMs + (this.#settings?.pingRestartMs ?? 120_000);
    if (this.#settings?.pingRestartMs === 0) this.#silentAtMs = Infinity;
  }

  #emit(output: ClientOutput): void {
    this.#outputs.push(output);
  }

  #close(reason: string): void {
    this.#closing ??= reason;
  }

  #finish(reason: string): void {
    for (const state of this.#states()) this.#emit({ kind: 'tlsClose', tls: state.tls });
    this.#emit({ kind: 'closed', reason });
    this.#isClosed = true;
  }
}

function isSame(a: Uint8Array, b: Uint8Array | null): boolean {
  return b !== null && a.length === b.length && a.every((byte, at) => byte === b[at]);
}
