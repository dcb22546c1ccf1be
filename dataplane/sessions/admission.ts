import { timingSafeEqual } from 'node:crypto';
import { utf8Bytes } from '../protocol/bytes.ts';
import { decodeControlHeader, type ControlPacket } from '../protocol/control-packet.ts';
import type { ControlWrap } from '../protocol/control-wrap.ts';
import { Opcode } from '../protocol/opcode.ts';
import { checkCookie, cookieSecretFrom, cookieSlotOf, makeCookie, serverResetTlv } from '../protocol/session-cookie.ts';
import { WrapPacketIds, type WrapPacketId } from '../protocol/wrap-packet-id.ts';
import type { ControlWraps, OpeningWrap } from './control-wraps.ts';
import type { Remote } from './engine-io.ts';
import type { EngineLimits } from './engine-options.ts';
import { NetworkLimit, TokenBucket } from './rate-limit.ts';
import type { AdmissionDrop, StartRefusal } from './reasons.ts';

/** What becomes of a packet that belongs to no session. `reason` is a metric label. */
export type Admission =
  | { readonly kind: 'drop'; readonly reason: AdmissionDrop }
  /** Its address is proven: that it is turned away is worth more than a count. */
  | { readonly kind: 'refuse'; readonly reason: Extract<StartRefusal, 'too-many-from-one-network'> }
  /** Costs nothing to have sent. */
  | { readonly kind: 'answer'; readonly packet: Uint8Array }
  | { readonly kind: 'start'; readonly start: SessionStart };

/** What a session is made from; the packet that caused it is then handed to it. */
export interface SessionStart {
  readonly wrap: ControlWrap;
  readonly wrapKey: Uint8Array | null;
  readonly hasWrappedClientKeys: boolean;
  readonly wrapPacketIds: WrapPacketIds;
  readonly ourSessionId: Uint8Array;
  readonly peerSessionId: Uint8Array;
  readonly start: 'answered' | 'fresh';
}

export interface AdmissionOptions {
  readonly limits: EngineLimits;
  readonly random: (bytes: number) => Uint8Array;
  readonly wallClock: () => number;
  /** Whether handshakes under way leave room for more, however fast they come. */
  readonly handshakes: () => 'few' | 'many';
}

/**
 * The door: until a client has proven its address with our cookie, nothing is kept for it and at most one packet is
 * sent per packet received, 12 bytes longer at the most (ours acknowledges, which the reset it answers does not).
 */
export class AdmissionControl {
  readonly #options: AdmissionOptions;
  readonly #cookieSecret: ReturnType<typeof cookieSecretFrom>;
  readonly #answers: NetworkLimit;
  readonly #unfinishedStarts: NetworkLimit;
  readonly #startsPerNetwork: NetworkLimit;
  readonly #starts: TokenBucket;

  constructor(options: AdmissionOptions) {
    const { limits, random } = options;
    this.#options = options;
    this.#cookieSecret = cookieSecretFrom(random(32));
    const salt = random(4).reduce((value, byte) => ((value << 8) | byte) >>> 0, 0);
    this.#answers = new NetworkLimit(limits.answersPerNetwork, limits.answersTotal, salt);
    this.#unfinishedStarts = new NetworkLimit(limits.unfinishedStartsPerNetwork, Infinity, salt);
    this.#startsPerNetwork = new NetworkLimit(limits.startsPerNetwork, Infinity, salt);
    this.#starts = new TokenBucket(limits.startsPerSecond, limits.startsBurst);
  }

  /** Judges a datagram. @throws never */
  considerUdp(remote: Remote, bytes: Uint8Array, wraps: ControlWraps, now: number): Admission {
    const opening = this.#open(bytes, wraps);
    if (!opening.ok) return drop(opening.reason);
    switch (opening.packet.opcode) {
      case Opcode.HardResetClientV2:
        return this.#answer(remote, opening, new Uint8Array(0), now);
      case Opcode.HardResetClientV3:
        // A client that can be asked for its key again says so in its first packet id.
        if (!signalsEarlyNegotiation(opening.packetId)) return drop('stateful-start');
        return this.#answer(remote, opening, serverResetTlv(true), now);
      case Opcode.ControlV1:
      case Opcode.AckV1:
      case Opcode.ControlWkcV1:
        return this.#startWithCookie(remote, opening, now);
      case Opcode.SoftResetV1:
      case Opcode.HardResetServerV2:
        return drop('not-an-opening');
    }
  }

  /** Judges the first frame of a TCP connection, whose address the handshake of TCP has proven. @throws never */
  considerTcp(remote: Remote, bytes: Uint8Array, wraps: ControlWraps, now: number): Admission {
    const opening = this.#open(bytes, wraps);
    if (!opening.ok) return drop(opening.reason);
    const { opcode } = opening.packet;
    if (opcode !== Opcode.HardResetClientV2 && opcode !== Opcode.HardResetClientV3) return drop('not-an-opening');
    if (this.#isTooOld(opening.wrap)) return drop('client-key-expired');
    if (!this.#mayStart(remote, now)) return { kind: 'refuse', reason: 'too-many-from-one-network' };
    const ourSessionId = this.#options.random(8);
    ourSessionId[0] |= 1;
    return { kind: 'start', start: this.#startFrom(opening, ourSessionId, 'fresh') };
  }

  /**
   * Whether one more handshake may be under way. A rate holds once they pile up: clients that come back after a restart
   * are served as fast as this machine can.
   */
  mayBegin(now: number): boolean {
    return this.#options.handshakes() === 'few' || this.#starts.take(now);
  }

  /** A session that began there has become a connection: that was no flood. */
  onConnected(remote: Remote, now: number): void {
    this.#unfinishedStarts.refund(remote.address, now);
  }

  #open(bytes: Uint8Array, wraps: ControlWraps): Opening | { readonly ok: false; readonly reason: AdmissionDrop } {
    const head = decodeControlHeader(bytes);
    if (!head.ok) return head;
    if (head.header.keyId !== 0 || !OPENING_OPCODES.has(head.header.opcode))
      return { ok: false, reason: 'not-an-opening' };
    const wrap = wraps.openingWrap(bytes, head.header.opcode);
    if (wrap === undefined) return { ok: false, reason: 'bad-wrapped-client-key' };
    const unwrapped = wrap.wrap.unwrap(wrap.packet);
    if (!unwrapped.ok) return unwrapped;
    return { ok: true, wrap, packet: unwrapped.packet, packetId: unwrapped.packetId };
  }

  #answer(remote: Remote, { wrap, packet }: Opening, payload: Uint8Array, now: number): Admission {
    if (!this.#answers.take(remote.address, now)) return drop('answer-limit');
    const cookie = makeCookie(this.#cookieSecret, slotAt(now), remoteBytes(remote), packet.sessionId);
    const answer: ControlPacket = {
      opcode: Opcode.HardResetServerV2,
      keyId: 0,
      sessionId: cookie,
      acks: [0],
      peerSessionId: packet.sessionId,
      messageId: 0,
      payload,
    };
    return { kind: 'answer', packet: wrap.wrap.wrap(answer, new WrapPacketIds(this.#unixS())) };
  }

  #startWithCookie(remote: Remote, opening: Opening, now: number): Admission {
    const { packet } = opening;
    if (packet.peerSessionId === null) return drop('no-cookie');
    const isFirst = packet.acks.every((id) => id <= 1) && (packet.messageId === null || packet.messageId <= 1);
    if (!isFirst) return drop('not-an-opening');
    const proven = checkCookie(
      this.#cookieSecret,
      slotAt(now),
      remoteBytes(remote),
      packet.sessionId,
      packet.peerSessionId,
    );
    if (!proven) return drop('bad-cookie');
    if (this.#isTooOld(opening.wrap)) return drop('client-key-expired');
    if (!this.#mayStart(remote, now)) return { kind: 'refuse', reason: 'too-many-from-one-network' };
    this.#answers.refund(remote.address, now);
    return { kind: 'start', start: this.#startFrom(opening, packet.peerSessionId, 'answered') };
  }

  /** One network, however many ports it has, can't take all the starts there are. */
  #mayStart({ address }: Remote, now: number): boolean {
    return this.#unfinishedStarts.take(address, now) && this.#startsPerNetwork.take(address, now);
  }

  #startFrom({ wrap, packet }: Opening, ourSessionId: Uint8Array, start: SessionStart['start']): SessionStart {
    return {
      wrap: wrap.wrap,
      wrapKey: wrap.key,
      hasWrappedClientKeys: wrap.metadata !== null,
      // The stateless answer has used id 1.
      wrapPacketIds: new WrapPacketIds(this.#unixS(), start === 'answered' ? 2 : 1),
      // Copies: a session lives for days, and what it was read from is a whole datagram.
      ourSessionId: ourSessionId.slice(),
      peerSessionId: packet.sessionId.slice(),
      start,
    };
  }

  #isTooOld({ metadata }: OpeningWrap): boolean {
    const lifetimeS = this.#options.limits.clientKeyLifetimeS;
    if (lifetimeS === null || metadata?.kind !== 'timestamp') return false;
    return this.#unixS() - metadata.createdS > lifetimeS;
  }

  #unixS(): number {
    return Math.floor(this.#options.wallClock() / 1000);
  }
}

interface Opening {
  readonly ok: true;
  readonly wrap: OpeningWrap;
  readonly packet: ControlPacket;
  readonly packetId: WrapPacketId | null;
}

/** Whether two session ids are the same, in constant time. */
export function isSameSessionId(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function signalsEarlyNegotiation(packetId: WrapPacketId | null): boolean {
  return packetId !== null && packetId.id >>> 24 === EARLY_NEGOTIATION;
}

function remoteBytes(remote: Remote): Uint8Array {
  return utf8Bytes(`${remote.address} ${remote.port}`);
}

/** Of the monotonic clock: a login under way survives that the other one is set. */
function slotAt(now: number): number {
  return cookieSlotOf(Math.floor(now / 1000));
}

function drop(reason: AdmissionDrop): Admission {
  return { kind: 'drop', reason };
}

const EARLY_NEGOTIATION = 0x0f;
const OPENING_OPCODES: ReadonlySet<number> = new Set([
  Opcode.HardResetClientV2,
  Opcode.HardResetClientV3,
  Opcode.ControlV1,
  Opcode.AckV1,
  Opcode.ControlWkcV1,
]);
