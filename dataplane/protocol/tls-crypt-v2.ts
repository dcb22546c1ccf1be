import { createSecretKey, timingSafeEqual } from 'node:crypto';
import { InternalError } from '../../net/errors.ts';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { concatBytes, u16Bytes, u64Bytes, viewOf } from './bytes.ts';
import { ControlDrop, dropped, type ControlDropped } from './control-packet.ts';
import { aes256Ctr, hmacOf, type CryptoKeyBytes } from './control-wrap.ts';
import { STATIC_KEY_BYTES } from './static-key.ts';

/** The server's tls-crypt-v2 key as in its file: 128 bytes. */
export const SERVER_KEY_BYTES = 128;
const TAG_BYTES = 32;
const LENGTH_BYTES = 2;
/** Tag, client key, and length around no metadata at all. */
export const MIN_WRAPPED_CLIENT_KEY_BYTES = TAG_BYTES + STATIC_KEY_BYTES + LENGTH_BYTES;
export const MAX_WRAPPED_CLIENT_KEY_BYTES = 1024;
const MAX_METADATA_BYTES = MAX_WRAPPED_CLIENT_KEY_BYTES - MIN_WRAPPED_CLIENT_KEY_BYTES;
/** The smallest tls-crypt packet: header 9, packet id 8, tag 32, one byte of body. */
const MIN_TLS_CRYPT_PACKET_BYTES = 50;
const SERVER_KEY_LABEL = 'OpenVPN tls-crypt-v2 server key';
const CLIENT_KEY_LABEL = 'OpenVPN tls-crypt-v2 client key';

export interface TlsCryptV2ServerKey {
  readonly encryption: CryptoKeyBytes;
  readonly authentication: CryptoKeyBytes;
}

/** Client key and the same key as wrapped for the server: what a client's profile holds. */
export interface TlsCryptV2ClientKey {
  /** 256 bytes, laid out as a static key. */
  readonly clientKey: Uint8Array;
  readonly wrappedClientKey: Uint8Array;
}

/** What the issuer of a client key wrote into it. */
export type ClientKeyMetadata =
  | { readonly kind: 'none' }
  | { readonly kind: 'user'; readonly data: Uint8Array }
  /** Seconds since 1970. */
  | { readonly kind: 'timestamp'; readonly createdS: number }
  | { readonly kind: 'unknown' };

/** Takes the two keys from the 128 bytes of a server key. */
export function tlsCryptV2ServerKey(bytes: Uint8Array): TlsCryptV2ServerKey {
  return {
    encryption: createSecretKey(bytes.subarray(0, 32)),
    authentication: createSecretKey(bytes.subarray(64, 96)),
  };
}

export function parseServerKeyPem(text: string): TlsCryptV2ServerKey | undefined {
  const bytes = parsePem(SERVER_KEY_LABEL, text);
  return bytes?.length === SERVER_KEY_BYTES ? tlsCryptV2ServerKey(bytes) : undefined;
}

/** @param bytes 128 random bytes. */
export function formatServerKeyPem(bytes: Uint8Array): string {
  return formatPem(SERVER_KEY_LABEL, bytes);
}

export function parseClientKeyPem(text: string): TlsCryptV2ClientKey | undefined {
  const bytes = parsePem(CLIENT_KEY_LABEL, text);
  if (bytes === undefined || bytes.length < STATIC_KEY_BYTES + MIN_WRAPPED_CLIENT_KEY_BYTES) return undefined;
  return { clientKey: bytes.slice(0, STATIC_KEY_BYTES), wrappedClientKey: bytes.slice(STATIC_KEY_BYTES) };
}

export function formatClientKeyPem(key: TlsCryptV2ClientKey): string {
  return formatPem(CLIENT_KEY_LABEL, concatBytes(key.clientKey, key.wrappedClientKey));
}

/**
 * `[tag 32][AES-256-CTR(client key 256, metadata)][total length 2]`.
 * @param metadata at most 734 bytes, its type byte included; see timestampMetadata.
 */
export function makeWrappedClientKey(
  serverKey: TlsCryptV2ServerKey,
  clientKey: Uint8Array,
  metadata: Uint8Array,
): Uint8Array {
  const plain = concatBytes(clientKey, metadata);
  if (clientKey.length !== STATIC_KEY_BYTES || metadata.length > MAX_METADATA_BYTES) {
    throw new InternalError(`Client key of ${clientKey.length} bytes with ${metadata.length} bytes of metadata`);
  }
  const length = u16Bytes(TAG_BYTES + plain.length + LENGTH_BYTES);
  const tag = hmacOf('SHA256', serverKey.authentication, [length, plain]);
  return concatBytes(tag, aes256Ctr(serverKey.encryption, tag, plain), length);
}

/** Cuts the wrapped client key off the end of an HARD_RESET_CLIENT_V3 or CONTROL_WKC_V1 packet; both are views. */
export function splitWrappedClientKey(
  bytes: Uint8Array,
): { readonly ok: true; readonly packet: Uint8Array; readonly wrappedClientKey: Uint8Array } | ControlDropped {
  if (bytes.length < MIN_TLS_CRYPT_PACKET_BYTES + MIN_WRAPPED_CLIENT_KEY_BYTES) return dropped(ControlDrop.TooShort);
  const length = viewOf(bytes).getUint16(bytes.length - LENGTH_BYTES);
  if (
    length < MIN_WRAPPED_CLIENT_KEY_BYTES ||
    length > MAX_WRAPPED_CLIENT_KEY_BYTES ||
    length > bytes.length - MIN_TLS_CRYPT_PACKET_BYTES
  ) {
    return dropped(ControlDrop.BadWrappedClientKeyLength);
  }
  const start = bytes.length - length;
  return { ok: true, packet: bytes.subarray(0, start), wrappedClientKey: bytes.subarray(start) };
}

/** Authenticates and decrypts a wrapped client key. */
export function unwrapClientKey(
  serverKey: TlsCryptV2ServerKey,
  wrapped: Uint8Array,
): { readonly ok: true; readonly clientKey: Uint8Array; readonly metadata: ClientKeyMetadata } | ControlDropped {
  if (wrapped.length < MIN_WRAPPED_CLIENT_KEY_BYTES || wrapped.length > MAX_WRAPPED_CLIENT_KEY_BYTES) {
    return dropped(ControlDrop.BadWrappedClientKeyLength);
  }
  const lengthAt = wrapped.length - LENGTH_BYTES;
  if (viewOf(wrapped).getUint16(lengthAt) !== wrapped.length) return dropped(ControlDrop.BadWrappedClientKeyLength);
  const tag = wrapped.subarray(0, TAG_BYTES);
  const plain = aes256Ctr(serverKey.encryption, tag, wrapped.subarray(TAG_BYTES, lengthAt));
  const expected = hmacOf('SHA256', serverKey.authentication, [wrapped.subarray(lengthAt), plain]);
  if (!timingSafeEqual(expected, tag)) return dropped(ControlDrop.BadWrappedClientKey);
  return {
    ok: true,
    clientKey: plain.slice(0, STATIC_KEY_BYTES),
    metadata: parseMetadata(plain.subarray(STATIC_KEY_BYTES)),
  };
}

/** Metadata of type 1: when the client key was made. */
export function timestampMetadata(createdS: number): Uint8Array {
  return concatBytes(Uint8Array.of(1), u64Bytes(createdS));
}

export function parseMetadata(bytes: Uint8Array): ClientKeyMetadata {
  if (bytes.length === 0) return { kind: 'none' };
  if (bytes[0] === 0) return { kind: 'user', data: bytes.slice(1) };
  if (bytes[0] === 1 && bytes.length === 9)
    return { kind: 'timestamp', createdS: Number(viewOf(bytes).getBigUint64(1)) };
  return { kind: 'unknown' };
}

function parsePem(label: string, text: string): Uint8Array | undefined {
  const begin = `-----BEGIN ${label}-----`;
  const start = text.indexOf(begin);
  const end = text.indexOf(`-----END ${label}-----`, start);
  if (start < 0 || end < 0) return undefined;
  return decodeBase64(text.slice(start + begin.length, end).replaceAll(/\s/g, ''));
}

function formatPem(label: string, bytes: Uint8Array): string {
  const lines = encodeBase64(bytes).match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}
