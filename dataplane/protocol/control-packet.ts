import { isAllZero, viewOf } from './bytes.ts';
import { firstByteFor, isControlOpcode, isHardReset, keyIdOf, Opcode, opcodeOf, type ControlOpcode } from './opcode.ts';

export const SESSION_ID_BYTES = 8;
/** First byte and sender's session id: what stands before the wrap's fields. */
export const CONTROL_HEADER_BYTES = 1 + SESSION_ID_BYTES;
/** Acknowledgements that fit a control packet with a message. */
export const MAX_CONTROL_ACKS = 4;
/** Acknowledgements that fit P_ACK_V1, and the most that are accepted anywhere. */
export const MAX_ACKS = 8;
/** Larger control packets are dropped before they are looked at. */
export const MAX_CONTROL_PACKET_BYTES = 2048;

export interface ControlHeader {
  readonly opcode: ControlOpcode;
  /** 0..7; 0 for hard resets. */
  readonly keyId: number;
  /** The sender's, 8 bytes, never all zero. */
  readonly sessionId: Uint8Array;
}

/** One packet of the control channel in the clear, whatever wrap it travels in. */
export interface ControlPacket extends ControlHeader {
  /** Message ids of the receiver that the sender has seen; at most 8. */
  readonly acks: readonly number[];
  /** The receiver's session id as the sender knows it; present exactly when there are acks. */
  readonly peerSessionId: Uint8Array | null;
  /** Null exactly in P_ACK_V1. */
  readonly messageId: number | null;
  readonly payload: Uint8Array;
}

/** Why a control packet was dropped. The value is a metric label. */
export const ControlDrop = {
  TooShort: 'control-too-short',
  TooLong: 'control-too-long',
  UnknownOpcode: 'control-unknown-opcode',
  HardResetKeyId: 'hard-reset-key-id',
  HardResetMessageId: 'hard-reset-message-id',
  ZeroSessionId: 'zero-session-id',
  TooManyAcks: 'too-many-acks',
  BadAuthentication: 'bad-authentication',
  BadWrappedClientKeyLength: 'bad-wrapped-client-key-length',
  BadWrappedClientKey: 'bad-wrapped-client-key',
} as const;
export type ControlDrop = (typeof ControlDrop)[keyof typeof ControlDrop];

export interface ControlDropped {
  readonly ok: false;
  readonly reason: ControlDrop;
}

/**
 * Reads `[opcode|key id 1][session id 8]`. Copies nothing: the session id is a view of `bytes`.
 * @throws never
 */
export function decodeControlHeader(
  bytes: Uint8Array,
): { readonly ok: true; readonly header: ControlHeader } | ControlDropped {
  if (bytes.length < CONTROL_HEADER_BYTES) return dropped(ControlDrop.TooShort);
  if (bytes.length > MAX_CONTROL_PACKET_BYTES) return dropped(ControlDrop.TooLong);
  const opcode = opcodeOf(bytes[0]);
  const keyId = keyIdOf(bytes[0]);
  if (!isControlOpcode(opcode)) return dropped(ControlDrop.UnknownOpcode);
  if (isHardReset(opcode) && keyId !== 0) return dropped(ControlDrop.HardResetKeyId);
  const sessionId = bytes.subarray(1, CONTROL_HEADER_BYTES);
  if (isAllZero(sessionId)) return dropped(ControlDrop.ZeroSessionId);
  return { ok: true, header: { opcode, keyId, sessionId } };
}

/**
 * Reads `[ack count 1][ack id 4]*[receiver's session id 8, with acks only][message id 4, not in P_ACK_V1][payload]`.
 * Session ids and payload are views of `body`.
 * @throws never
 */
export function decodeControlBody(
  header: ControlHeader,
  body: Uint8Array,
): { readonly ok: true; readonly packet: ControlPacket } | ControlDropped {
  if (body.length < 1) return dropped(ControlDrop.TooShort);
  const ackCount = body[0];
  if (ackCount > MAX_ACKS) return dropped(ControlDrop.TooManyAcks);
  const acksEnd = 1 + ackCount * 4;
  const sessionIdEnd = ackCount > 0 ? acksEnd + SESSION_ID_BYTES : acksEnd;
  const hasMessage = header.opcode !== Opcode.AckV1;
  const payloadStart = hasMessage ? sessionIdEnd + 4 : sessionIdEnd;
  if (body.length < payloadStart) return dropped(ControlDrop.TooShort);

  const view = viewOf(body);
  const acks: number[] = [];
  for (let at = 1; at < acksEnd; at += 4) acks.push(view.getUint32(at));
  const peerSessionId = ackCount > 0 ? body.subarray(acksEnd, sessionIdEnd) : null;
  const messageId = hasMessage ? view.getUint32(sessionIdEnd) : null;
  if (isHardReset(header.opcode) && messageId !== 0) return dropped(ControlDrop.HardResetMessageId);
  return { ok: true, packet: { ...header, acks, peerSessionId, messageId, payload: body.subarray(payloadStart) } };
}

/**
 * The packet in the clear, `[header 9][wrapBytes zeros][body]`, with room for what a wrap puts between header and body;
 * see decodeControlBody for the body.
 */
export function encodeControlPacket(packet: ControlPacket, wrapBytes: number): Uint8Array {
  const { acks, messageId, payload } = packet;
  const peerSessionId = acks.length > 0 ? packet.peerSessionId : null;
  const acksStart = CONTROL_HEADER_BYTES + wrapBytes + 1;
  const sessionIdStart = acksStart + acks.length * 4;
  const messageIdStart = sessionIdStart + (peerSessionId?.length ?? 0);
  const payloadStart = messageIdStart + (messageId === null ? 0 : 4);

  const bytes = new Uint8Array(payloadStart + payload.length);
  const view = viewOf(bytes);
  bytes[0] = firstByteFor(packet.opcode, packet.keyId);
  bytes.set(packet.sessionId, 1);
  bytes[acksStart - 1] = acks.length;
  for (const [index, ack] of acks.entries()) view.setUint32(acksStart + index * 4, ack);
  if (peerSessionId !== null) bytes.set(peerSessionId, sessionIdStart);
  if (messageId !== null) view.setUint32(messageIdStart, messageId);
  bytes.set(payload, payloadStart);
  return bytes;
}

export function dropped(reason: ControlDrop): ControlDropped {
  return { ok: false, reason };
}
