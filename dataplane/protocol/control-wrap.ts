import { createCipheriv, createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import { InternalError } from '../../net/errors.ts';
import {
  CONTROL_HEADER_BYTES,
  ControlDrop,
  decodeControlBody,
  decodeControlHeader,
  dropped,
  encodeControlPacket,
  type ControlDropped,
  type ControlPacket,
} from './control-packet.ts';
import { STATIC_KEY_BYTES, staticKeyPair } from './static-key.ts';
import {
  decodeWrapPacketId,
  WRAP_PACKET_ID_BYTES,
  type WrapPacketId,
  type WrapPacketIds,
  writeWrapPacketId,
} from './wrap-packet-id.ts';

/** How control packets are protected before TLS. Stateless: counters and replay windows belong to the session. */
export interface ControlWrap {
  /** Bytes that the wrap adds to a packet. */
  readonly overheadBytes: number;
  /** The whole packet as it goes on the wire; takes one id from `ids` where the wrap carries one. */
  wrap(packet: ControlPacket, ids: WrapPacketIds): Uint8Array;
  /**
   * Authenticates, then decodes. Does not judge the wrap packet id: the session's window does, after the packet is known
   * to belong to it. A trailing wrapped client key must have been cut off.
   * @throws never
   */
  unwrap(bytes: Uint8Array): UnwrapResult;
}

export type UnwrapResult =
  /** `packetId` is null without a wrap. */
  { readonly ok: true; readonly packet: ControlPacket; readonly packetId: WrapPacketId | null } | ControlDropped;

export type WrapDigest = 'SHA1' | 'SHA256' | 'SHA512';
export const WRAP_DIGEST_BYTES: Readonly<Record<WrapDigest, number>> = { SHA1: 20, SHA256: 32, SHA512: 64 };

/** No protection: `[header 9][body]`. */
export function plainWrap(): ControlWrap {
  return {
    overheadBytes: 0,
    wrap: (packet) => encodeControlPacket(packet, 0),
    unwrap(bytes) {
      const head = decodeControlHeader(bytes);
      if (!head.ok) return head;
      const body = decodeControlBody(head.header, bytes.subarray(CONTROL_HEADER_BYTES));
      return body.ok ? { ok: true, packet: body.packet, packetId: null } : body;
    },
  };
}

/**
 * `[header 9][HMAC][packet id 8][body]`; the HMAC covers packet id, header, body in this order.
 * `direction` is ours: `server` is key direction 0, `client` is 1, `bidirectional` is a file without one.
 */
export function tlsAuthWrap(
  staticKey: Uint8Array,
  options: { readonly digest: WrapDigest; readonly direction: 'server' | 'client' | 'bidirectional' },
): ControlWrap {
  requireStaticKey(staticKey);
  const { digest, direction } = options;
  const digestBytes = WRAP_DIGEST_BYTES[digest];
  const hmacKey = (pair: 0 | 1): KeyObject =>
    createSecretKey(staticKeyPair(staticKey, pair).hmac.subarray(0, digestBytes));
  const sendKey = hmacKey(direction === 'client' ? 1 : 0);
  const receiveKey = hmacKey(direction === 'server' ? 1 : 0);
  const idStart = CONTROL_HEADER_BYTES + digestBytes;
  const bodyStart = idStart + WRAP_PACKET_ID_BYTES;
  const hmac = (key: KeyObject, bytes: Uint8Array): Uint8Array => {
    const header = bytes.subarray(0, CONTROL_HEADER_BYTES);
    return hmacOf(digest, key, [bytes.subarray(idStart, bodyStart), header, bytes.subarray(bodyStart)]);
  };

  return {
    overheadBytes: digestBytes + WRAP_PACKET_ID_BYTES,
    wrap(packet, ids) {
      const bytes = encodeControlPacket(packet, bodyStart - CONTROL_HEADER_BYTES);
      writeWrapPacketId(bytes, idStart, ids.next());
      bytes.set(hmac(sendKey, bytes), CONTROL_HEADER_BYTES);
      return bytes;
    },
    unwrap(bytes) {
      const head = decodeControlHeader(bytes);
      if (!head.ok) return head;
      if (bytes.length < bodyStart) return dropped(ControlDrop.TooShort);
      if (!timingSafeEqual(hmac(receiveKey, bytes), bytes.subarray(CONTROL_HEADER_BYTES, idStart))) {
        return dropped(ControlDrop.BadAuthentication);
      }
      return withPacketId(decodeControlBody(head.header, bytes.subarray(bodyStart)), bytes, idStart);
    },
  };
}

const TLS_CRYPT_TAG_BYTES = 32;

/**
 * `[header 9][packet id 8][tag 32][ciphertext]`: AES-256-CTR with the tag's first half as IV, the tag being
 * HMAC-SHA256 over everything in the clear. Of the key's two pairs the server sends with the first.
 */
export function tlsCryptWrap(staticKey: Uint8Array, role: 'server' | 'client'): ControlWrap {
  requireStaticKey(staticKey);
  const send = tlsCryptKeys(staticKey, role === 'server' ? 0 : 1);
  const receive = tlsCryptKeys(staticKey, role === 'server' ? 1 : 0);
  const tagStart = CONTROL_HEADER_BYTES + WRAP_PACKET_ID_BYTES;
  const bodyStart = tagStart + TLS_CRYPT_TAG_BYTES;

  return {
    overheadBytes: WRAP_PACKET_ID_BYTES + TLS_CRYPT_TAG_BYTES,
    wrap(packet, ids) {
      const bytes = encodeControlPacket(packet, bodyStart - CONTROL_HEADER_BYTES);
      writeWrapPacketId(bytes, CONTROL_HEADER_BYTES, ids.next());
      const body = bytes.subarray(bodyStart);
      const tag = hmacOf('SHA256', send.authentication, [bytes.subarray(0, tagStart), body]);
      bytes.set(aes256Ctr(send.encryption, tag, body), bodyStart);
      bytes.set(tag, tagStart);
      return bytes;
    },
    unwrap(bytes) {
      const head = decodeControlHeader(bytes);
      if (!head.ok) return head;
      if (bytes.length <= bodyStart) return dropped(ControlDrop.TooShort);
      const tag = bytes.subarray(tagStart, bodyStart);
      const body = aes256Ctr(receive.encryption, tag, bytes.subarray(bodyStart));
      const expected = hmacOf('SHA256', receive.authentication, [bytes.subarray(0, tagStart), body]);
      if (!timingSafeEqual(expected, tag)) return dropped(ControlDrop.BadAuthentication);
      return withPacketId(decodeControlBody(head.header, body), bytes, CONTROL_HEADER_BYTES);
    },
  };
}

/** A key as node:crypto takes it. One that is used often should be a KeyObject, which costs a fourth per use. */
export type CryptoKeyBytes = KeyObject | Uint8Array;

/** HMAC over the joined parts, whole. */
export function hmacOf(digest: WrapDigest, key: CryptoKeyBytes, parts: readonly Uint8Array[]): Uint8Array {
  const hmac = createHmac(digest, key);
  for (const part of parts) hmac.update(part);
  return hmac.digest();
}

/** AES-256-CTR both ways; the IV is the first 16 bytes of `tag`. */
export function aes256Ctr(key: CryptoKeyBytes, tag: Uint8Array, bytes: Uint8Array): Uint8Array {
  return createCipheriv('aes-256-ctr', key, tag.subarray(0, 16)).update(bytes);
}

function tlsCryptKeys(staticKey: Uint8Array, pair: 0 | 1): { encryption: KeyObject; authentication: KeyObject } {
  const { cipher, hmac } = staticKeyPair(staticKey, pair);
  return { encryption: createSecretKey(cipher.subarray(0, 32)), authentication: createSecretKey(hmac.subarray(0, 32)) };
}

function withPacketId(
  decoded: ReturnType<typeof decodeControlBody>,
  bytes: Uint8Array,
  packetIdAt: number,
): UnwrapResult {
  if (!decoded.ok) return decoded;
  return { ok: true, packet: decoded.packet, packetId: decodeWrapPacketId(bytes, packetIdAt) };
}

function requireStaticKey(key: Uint8Array): void {
  if (key.length !== STATIC_KEY_BYTES) {
    throw new InternalError(`Static key of ${key.length} bytes, expected ${STATIC_KEY_BYTES}`);
  }
}
